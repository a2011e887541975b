#include "tests/fuzz/mutator.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <limits>

namespace dime {

std::string Mutator::Next() {
  constexpr size_t kMaxBytes = 1 << 14;
  std::string bytes = seeds_[Below(seeds_.size())];
  for (size_t changes = 1 + Below(8); changes > 0; --changes) Change(bytes);
  if (bytes.size() > kMaxBytes) bytes.resize(kMaxBytes);
  return bytes;
}

void Mutator::Change(std::string& bytes) {
  constexpr int64_t kNumbers[] = {0,
                                  1,
                                  -1,
                                  127,
                                  128,
                                  255,
                                  65535,
                                  std::numeric_limits<int32_t>::max(),
                                  std::numeric_limits<int32_t>::min(),
                                  std::numeric_limits<int64_t>::max(),
                                  std::numeric_limits<int64_t>::min()};
  const size_t place = Below(bytes.size());
  switch (Below(8)) {
    case 0:
      if (!bytes.empty()) bytes[place] ^= static_cast<char>(1 << Below(8));
      return;
    case 1:
      if (!bytes.empty()) bytes[place] = static_cast<char>(Below(256));
      return;
    case 2:
      bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(place),
                   static_cast<char>(Below(256)));
      return;
    case 3:
      bytes.erase(place, 1 + Below(std::min<size_t>(bytes.size() - place + 1, 16)));
      return;
    case 4: {  // a number, of some width, over what is there
      const int64_t number = kNumbers[Below(std::size(kNumbers))];
      const size_t width = std::min<size_t>(size_t{1} << Below(4), bytes.size() - place);
      if (!bytes.empty()) std::memcpy(bytes.data() + place, &number, width);
      return;
    }
    case 5: {  // a part once more
      const std::string part = bytes.substr(place, 1 + Below(32));
      bytes.insert(Below(bytes.size() + 1), part);
      return;
    }
    case 6: {  // another seed's end
      const std::string& other = seeds_[Below(seeds_.size())];
      bytes = bytes.substr(0, place) + other.substr(Below(other.size()));
      return;
    }
    case 7: {  // digits, as numbers in text are
      const std::string number = std::to_string(kNumbers[Below(std::size(kNumbers))]);
      bytes.insert(place, number);
      return;
    }
  }
}

}  // namespace dime
