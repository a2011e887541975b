#ifndef DIME_TESTS_MODEL_SVG_ELEMENTS_H_
#define DIME_TESTS_MODEL_SVG_ELEMENTS_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace dime {

// The elements of an XML document by name, with how often each occurs; nothing if the document is
// not well-formed: an element left open or closed by another's name, a stray "<" or a bare "&".
inline std::optional<std::map<std::string, int>> CountElements(const std::string& xml) {
  std::map<std::string, int> counts;
  std::vector<std::string> open;
  bool quoted = false;
  for (size_t i = 0; i < xml.size(); ++i) {
    if (xml[i] == '&') {
      const size_t end = xml.find(';', i);
      if (end == std::string::npos || end - i > 6) return std::nullopt;
    }
    if (xml[i] != '<') continue;
    size_t end = i + 1;
    for (; end < xml.size() && (quoted || xml[end] != '>'); ++end) {
      if (xml[end] == '"') quoted = !quoted;
      if (xml[end] == '<') return std::nullopt;
    }
    if (end == xml.size()) return std::nullopt;
    const std::string tag = xml.substr(i + 1, end - i - 1);
    i = end;
    if (tag.empty()) return std::nullopt;
    if (tag[0] == '?') continue;
    const std::string name =
        tag.substr(tag[0] == '/', tag.find_first_of(" /", 1) - (tag[0] == '/'));
    if (tag[0] == '/') {
      if (open.empty() || open.back() != tag.substr(1)) return std::nullopt;
      open.pop_back();
      continue;
    }
    ++counts[name];
    if (tag.back() != '/') open.push_back(name);
  }
  return open.empty() ? std::make_optional(counts) : std::nullopt;
}

}  // namespace dime

#endif  // DIME_TESTS_MODEL_SVG_ELEMENTS_H_
