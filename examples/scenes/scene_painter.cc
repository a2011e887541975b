#include "examples/scenes/scene_painter.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "examples/scenes/random_stream.h"

namespace dime::scenes {
namespace {

constexpr double kPi = std::numbers::pi;

void SetLightTint(cairo_t* cairo, RandomStream& random, double alpha) {
  const double base = random.Between(0.90, 0.96);
  const double red = base + random.Between(-0.035, 0.035);
  const double green = base + random.Between(-0.035, 0.035);
  const double blue = base + random.Between(-0.035, 0.035);
  cairo_set_source_rgba(cairo, red, green, blue, alpha);
}

void PaintBackground(cairo_t* cairo, RandomStream& random) {
  SetLightTint(cairo, random, 1);
  cairo_paint(cairo);
  // A gradient: a second tint whose weight grows across the picture.
  const double angle = random.Between(0, 2 * kPi);
  const double middle = kScenePixels / 2.0;
  const double dx = middle * std::cos(angle);
  const double dy = middle * std::sin(angle);
  cairo_pattern_t* gradient =
      cairo_pattern_create_linear(middle - dx, middle - dy, middle + dx, middle + dy);
  cairo_pattern_add_color_stop_rgba(gradient, 0, 0, 0, 0, 0);
  cairo_pattern_add_color_stop_rgba(gradient, 1, 0, 0, 0, 1);
  SetLightTint(cairo, random, 1);
  cairo_mask(cairo, gradient);
  cairo_pattern_destroy(gradient);
  const int blots = 2 + random.Below(3);
  for (int i = 0; i < blots; ++i) {
    const double x = random.Between(0, kScenePixels);
    const double y = random.Between(0, kScenePixels);
    cairo_arc(cairo, x, y, random.Between(18, 50), 0, 2 * kPi);
    SetLightTint(cairo, random, 0.45);
    cairo_fill(cairo);
  }
}

// The outline of a shape that fills about the unit circle.
void TracePath(cairo_t* cairo, Shape shape) {
  switch (shape) {
    case Shape::kCircle:
      cairo_arc(cairo, 0, 0, 0.98, 0, 2 * kPi);
      break;
    case Shape::kSquare:
      cairo_rectangle(cairo, -0.84, -0.84, 1.68, 1.68);
      break;
    case Shape::kTriangle:
      cairo_move_to(cairo, 0, -1.05);
      cairo_line_to(cairo, 1.06, 0.85);
      cairo_line_to(cairo, -1.06, 0.85);
      break;
    case Shape::kStar:
      for (int i = 0; i < 10; ++i) {
        const double radius = i % 2 == 0 ? 1.14 : 0.5;
        const double angle = kPi * i / 5 - kPi / 2;
        cairo_line_to(cairo, radius * std::cos(angle), radius * std::sin(angle) + 0.06);
      }
      break;
    case Shape::kCross: {
      constexpr double kArm = 0.36;  // half the width of an arm
      constexpr std::array<std::array<double, 2>, 12> kCorners = {{{-kArm, -1},
                                                                   {kArm, -1},
                                                                   {kArm, -kArm},
                                                                   {1, -kArm},
                                                                   {1, kArm},
                                                                   {kArm, kArm},
                                                                   {kArm, 1},
                                                                   {-kArm, 1},
                                                                   {-kArm, kArm},
                                                                   {-1, kArm},
                                                                   {-1, -kArm},
                                                                   {-kArm, -kArm}}};
      for (const auto& corner : kCorners) cairo_line_to(cairo, corner[0], corner[1]);
      break;
    }
    case Shape::kHeart:
      cairo_move_to(cairo, 0, 1.02);
      cairo_curve_to(cairo, -1.5, -0.05, -0.95, -1.3, 0, -0.48);
      cairo_curve_to(cairo, 0.95, -1.3, 1.5, -0.05, 0, 1.02);
      break;
  }
  cairo_close_path(cairo);
}

void PaintObject(cairo_t* cairo, const SceneObject& object) {
  const bool large = object.size == Size::kLarge;
  const double red = object.rgb[0] / 255.0;
  const double green = object.rgb[1] / 255.0;
  const double blue = object.rgb[2] / 255.0;
  cairo_save(cairo);
  cairo_translate(cairo, object.x, object.y);
  cairo_set_line_join(cairo, CAIRO_LINE_JOIN_ROUND);
  // The path is made in units of the radius, lines are drawn in pixels.
  cairo_save(cairo);
  cairo_rotate(cairo, object.rotation);
  cairo_scale(cairo, object.radius, object.radius);
  TracePath(cairo, object.shape);
  cairo_restore(cairo);
  switch (object.fill) {
    case Fill::kSolid:
      cairo_set_source_rgb(cairo, red, green, blue);
      cairo_fill(cairo);
      break;
    case Fill::kOutlined:
      cairo_set_source_rgb(cairo, red, green, blue);
      cairo_set_line_width(cairo, large ? 3.0 : 2.4);
      cairo_stroke(cairo);
      break;
    case Fill::kStriped: {
      cairo_path_t* path = cairo_copy_path(cairo);
      cairo_set_source_rgb(cairo, 1, 1, 1);
      cairo_fill_preserve(cairo);
      cairo_set_source_rgb(cairo, red, green, blue);
      cairo_save(cairo);
      cairo_clip(cairo);
      const double period = large ? 6.0 : 4.2;
      const double reach = 2 * object.radius;
      cairo_rotate(cairo, kPi / 4);
      cairo_set_line_width(cairo, 0.5 * period);
      for (double y = -reach; y <= reach; y += period) {
        cairo_move_to(cairo, -reach, y);
        cairo_line_to(cairo, reach, y);
      }
      cairo_stroke(cairo);
      cairo_restore(cairo);
      cairo_append_path(cairo, path);
      cairo_path_destroy(path);
      cairo_set_line_width(cairo, 1.3);
      cairo_stroke(cairo);
      break;
    }
  }
  cairo_restore(cairo);
}

void AddNoise(RandomStream& random, Picture& picture) {
  constexpr int kAmplitude = 2;  // of 255
  uint64_t bits = 0;
  int left = 0;
  for (uint8_t& value : picture.pixels) {
    if (left == 0) {
      bits = random.Next();
      left = 8;
    }
    const int noise = static_cast<int>((bits & 0xFF) % (2 * kAmplitude + 1)) - kAmplitude;
    bits >>= 8;
    --left;
    value = static_cast<uint8_t>(std::clamp(value + noise, 0, 255));
  }
}

}  // namespace

Picture ScenePainter::Paint(const Scene& scene) const {
  RandomStream random({scene.background_seed});
  const CairoSurface surface(
      cairo_image_surface_create(CAIRO_FORMAT_RGB24, kScenePixels, kScenePixels));
  const Cairo cairo(cairo_create(surface.get()));
  PaintBackground(cairo.get(), random);
  for (const SceneObject& object : scene.objects) PaintObject(cairo.get(), object);
  Picture picture = FromSurface(surface.get());
  AddNoise(random, picture);
  return picture;
}

}  // namespace dime::scenes
