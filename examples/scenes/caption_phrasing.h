#ifndef DIME_EXAMPLES_SCENES_CAPTION_PHRASING_H_
#define DIME_EXAMPLES_SCENES_CAPTION_PHRASING_H_

#include <string>

#include "examples/scenes/caption.h"
#include "examples/scenes/random_stream.h"

namespace dime::scenes {

// Puts a caption's statement into English: lower case, no full stop. Word order and synonyms
// ("large" or "big", "left of" or "to the left of") are drawn from the stream; what is said is not.
// Understands the forms that CaptionWriter makes: two or three phrases, at most two relations whose
// subject is the first phrase, a total with at most two phrases and no relation or one.
std::string PutIntoWords(const Caption& caption, RandomStream& random);

}  // namespace dime::scenes

#endif  // DIME_EXAMPLES_SCENES_CAPTION_PHRASING_H_
