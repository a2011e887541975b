#ifndef DIME_TESTS_MODEL_DIME_NPZ_READER_H_
#define DIME_TESTS_MODEL_DIME_NPZ_READER_H_

#include <torch/torch.h>
#include <zlib.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <string>

namespace dime {

// Arrays of a trusted .npz file by name, as tensors; for reference data in tests alone.
inline std::map<std::string, torch::Tensor> ReadNpz(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  const std::string zip((std::istreambuf_iterator<char>(stream)), {});
  const auto number = [&](size_t at, int bytes) {
    uint64_t value = 0;
    std::memcpy(&value, zip.data() + at, bytes);
    return value;
  };
  std::map<std::string, torch::Tensor> arrays;
  const size_t end = zip.rfind(std::string("PK\x05\x06", 4));
  TORCH_CHECK(end != std::string::npos, path, " is no zip file");
  size_t entry = number(end + 16, 4);
  for (uint64_t i = 0; i < number(end + 10, 2); ++i) {
    const uint64_t method = number(entry + 10, 2), packed = number(entry + 20, 4),
                   size = number(entry + 24, 4), name_size = number(entry + 28, 2),
                   header = number(entry + 42, 4);
    std::string name = zip.substr(entry + 46, name_size);
    entry += 46 + name_size + number(entry + 30, 2) + number(entry + 32, 2);
    const size_t start = header + 30 + number(header + 26, 2) + number(header + 28, 2);
    std::string npy(size, '\0');
    if (method == 0) {
      npy = zip.substr(start, size);
    } else {
      z_stream inflater{};
      inflater.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(zip.data() + start));
      inflater.avail_in = packed;
      inflater.next_out = reinterpret_cast<Bytef*>(npy.data());
      inflater.avail_out = size;
      TORCH_CHECK(inflateInit2(&inflater, -MAX_WBITS) == Z_OK &&
                  inflate(&inflater, Z_FINISH) == Z_STREAM_END);
      inflateEnd(&inflater);
    }
    uint16_t header_size = 0;
    std::memcpy(&header_size, npy.data() + 8, 2);
    const std::string text = npy.substr(10, header_size);
    std::smatch match;
    TORCH_CHECK(std::regex_search(text, match, std::regex("'shape': \\(([^)]*)\\)")));
    std::vector<int64_t> shape;
    const std::string dims = match[1];
    const std::regex number_form("[0-9]+");
    for (std::sregex_iterator it(dims.begin(), dims.end(), number_form), none; it != none; ++it) {
      shape.push_back(std::stoll(it->str()));
    }
    TORCH_CHECK(std::regex_search(text, match, std::regex("'descr': '<([a-z][0-9])'")));
    const std::string type = match[1];
    const auto dtype = type == "f4" ? torch::kFloat32 : type == "i8" ? torch::kLong : torch::kInt;
    arrays[name.substr(0, name.size() - 4)] =
        torch::from_blob(npy.data() + 10 + header_size, shape, dtype).clone();
  }
  return arrays;
}

}  // namespace dime

#endif  // DIME_TESTS_MODEL_DIME_NPZ_READER_H_
