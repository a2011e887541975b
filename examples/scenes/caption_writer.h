#ifndef DIME_EXAMPLES_SCENES_CAPTION_WRITER_H_
#define DIME_EXAMPLES_SCENES_CAPTION_WRITER_H_

#include <array>
#include <vector>

#include "examples/scenes/caption.h"
#include "examples/scenes/random_stream.h"
#include "examples/scenes/scene.h"

namespace dime::scenes {

// Writes a scene's five captions, ordinarily one of each kind, all true of it and all naming two
// objects or more. A caption is first chosen as a statement (which objects, which of their
// attributes, what relation or number), then put into words by a small grammar with some free
// variation:
//   attributes  two objects, described at length
//   binding     two objects that would be others if their attributes were exchanged
//   relation    two objects (or a group and an object), and where one is from the other
//   count       how many there are of some sort, and something else
//   mixed       three objects or a number, and a relation
// Candidates are drawn until one is false of the twin (for the last four kinds; no binding caption
// can tell a mirror image) and not vague, or the attempts run out and the best so far is taken.
// Vague is what is true of too many scenes of a fixed reference sample; phrases that do not
// contradict each other ("a star and a red star") are never used together. Immutable, hence
// thread-safe.
class CaptionWriter {
 public:
  CaptionWriter();

  // One caption of each of `kinds`, in that order. A function of the scenes and the stream.
  std::vector<Caption> Write(const Scene& scene, const Scene& twin,
                             const std::array<CaptionKind, kCaptionKinds>& kinds,
                             RandomStream& random) const;

 private:
  bool IsVague(const Caption& caption) const;

  const std::vector<SceneFacts> reference_;
};

}  // namespace dime::scenes

#endif  // DIME_EXAMPLES_SCENES_CAPTION_WRITER_H_
