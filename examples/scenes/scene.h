#ifndef DIME_EXAMPLES_SCENES_SCENE_H_
#define DIME_EXAMPLES_SCENES_SCENE_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dime::scenes {

enum class Shape : uint8_t { kCircle, kSquare, kTriangle, kStar, kCross, kHeart };
enum class Colour : uint8_t { kRed, kOrange, kYellow, kGreen, kBlue, kPurple, kPink, kBlack };
enum class Size : uint8_t { kSmall, kLarge };
enum class Fill : uint8_t { kSolid, kOutlined, kStriped };
enum class Relation : uint8_t { kLeftOf, kRightOf, kAbove, kBelow };
// What two twins differ in; see scene_sampler.h.
enum class TwinKind : uint8_t { kAttributes, kCounts, kMirrored };

inline constexpr int kShapes = 6;
inline constexpr int kColours = 8;
inline constexpr int kSizes = 2;
inline constexpr int kFills = 3;
inline constexpr int kRelations = 4;
inline constexpr int kTwinKinds = 3;

// The names used in files; they are also the first choice of word in captions.
std::string_view NameOf(Shape shape);
std::string_view NameOf(Colour colour);
std::string_view NameOf(Size size);
std::string_view NameOf(Fill fill);
std::string_view NameOf(TwinKind kind);
// The value of that name, or nothing. T is one of the enumerations above that have names.
template <typename T>
std::optional<T> FromName(std::string_view name);

inline constexpr int kScenePixels = 120;  // width and height of a scene
inline constexpr int kGridCells = 3;      // objects stand near the centres of a 3 x 3 grid
inline constexpr int kMinObjects = 2;
inline constexpr int kMaxObjects = 5;
// An object is left of another if its centre is at least this many pixels farther left, and so on.
// Objects of different columns are at least 32 px apart, of one column at most 6: never a doubt.
inline constexpr double kRelationMargin = 20;

// One thing in a scene: what it is (the part that captions speak of) and how it is drawn.
struct SceneObject {
  Shape shape = Shape::kCircle;
  Colour colour = Colour::kRed;
  Size size = Size::kSmall;
  Fill fill = Fill::kSolid;
  int column = 0;  // of the grid, 0 is left
  int row = 0;     // of the grid, 0 is at the top

  double x = 0;         // pixels from the left to the centre
  double y = 0;         // pixels from the top to the centre
  double radius = 0;    // pixels
  double rotation = 0;  // radians, clockwise
  std::array<uint8_t, 3> rgb = {0, 0, 0};

  // Equal in all that captions can tell but place.
  bool LooksLike(const SceneObject& other) const {
    return shape == other.shape && colour == other.colour && size == other.size &&
           fill == other.fill;
  }
};

// A scene graph with everything that is needed to draw it again.
struct Scene {
  std::vector<SceneObject> objects;  // in no meaningful order
  uint64_t background_seed = 0;

  // Equal for scenes with equal objects in equal grid cells, whatever their order and jitter.
  std::string Signature() const;
};

// What the truth of captions depends on, as bit masks over a scene's objects (bit i: object i), so
// that a caption can be tested on many thousands of scenes.
struct SceneFacts {
  explicit SceneFacts(const Scene& scene);

  int object_count = 0;
  std::array<uint8_t, kShapes> of_shape = {};
  std::array<uint8_t, kColours> of_colour = {};
  std::array<uint8_t, kSizes> of_size = {};
  std::array<uint8_t, kFills> of_fill = {};
  // related[r][i]: the objects to which object i stands in relation r ("i is left of them").
  std::array<std::array<uint8_t, kMaxObjects>, kRelations> related = {};
};

}  // namespace dime::scenes

#endif  // DIME_EXAMPLES_SCENES_SCENE_H_
