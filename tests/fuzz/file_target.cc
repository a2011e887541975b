#include <algorithm>
#include <cmath>
#include <memory>

#include "index/bottom_up_tsv.h"
#include "index/npy_file.h"
#include "index/safetensors_file.h"
#include "tests/fuzz/fuzz_target.h"

namespace dime {
namespace {

void ReadSafetensors(const std::string& path) {
  const auto file = SafetensorsFile::Open(path);
  if (!file.ok()) return;
  for (const auto& [name, tensor] : (*file)->tensors()) {
    FuzzRequire(tensor.bytes.size() ==
                    static_cast<size_t>(tensor.elements()) * TensorTypeBytes(tensor.type),
                "a tensor has its bytes");
    const auto floats = tensor.ToFloats();
    FuzzRequire(!floats.ok() || static_cast<int64_t>(floats->size()) == tensor.elements(),
                "a tensor has its floats");
    FuzzRequire((*file)->Find(name) != nullptr, "a tensor is found by its name");
  }
}

void ReadNpy(const std::string& path) {
  const auto file = NpyFile::Open(path);
  if (!file.ok()) return;
  const int64_t rows = std::min<int64_t>((*file)->rows(), 4);
  if ((*file)->row_size() > (1 << 20)) return;
  std::vector<float> values(rows * (*file)->row_size());
  FuzzRequire((*file)->ReadRows(0, rows, absl::MakeSpan(values)).ok(), "rows can be read");
  std::vector<float> row((*file)->row_size());
  FuzzRequire(!(*file)->ReadRows((*file)->rows(), 1, absl::MakeSpan(row)).ok(),
              "there is no row behind the last");
}

void ReadTsv(const std::string& path) {
  const auto reader = BottomUpTsvReader::Open(path);
  if (!reader.ok()) return;
  while (true) {
    const auto row = (*reader)->Next();
    if (!row.ok()) break;
    FuzzRequire(row->features.size() == size_t{1} * row->num_regions * row->feature_dim,
                "a row has its features");
    FuzzRequire(row->image.boxes.empty() || row->image.boxes.size() == size_t{4} * row->num_regions,
                "a row has its boxes");
    FuzzRequire(std::all_of(row->features.begin(), row->features.end(),
                            [](float value) { return std::isfinite(value); }),
                "features are numbers");
  }
  FuzzRequire((*reader)->Progress() >= 0 && (*reader)->Progress() <= 1, "progress is a share");
}

// The bytes as each of the three.
void Run(absl::string_view bytes) {
  const std::string path = FuzzFile("file", bytes);
  ReadSafetensors(path);
  ReadNpy(path);
  ReadTsv(path);
}

std::string Safetensors(absl::string_view header, absl::string_view payload) {
  std::string file(8, '\0');
  for (int i = 0; i < 8; ++i) file[i] = static_cast<char>(uint64_t{header.size()} >> (8 * i));
  file.append(header.data(), header.size());
  file.append(payload.data(), payload.size());
  return file;
}

std::string Npy(absl::string_view header, absl::string_view payload) {
  std::string file("\x93NUMPY\x01\x00", 8);
  file.push_back(static_cast<char>(header.size()));
  file.push_back('\0');
  file.append(header.data(), header.size());
  file.append(payload.data(), payload.size());
  return file;
}

}  // namespace

FuzzTarget FileTarget() {
  return {.name = "file",
          .seeds = {Safetensors(R"({"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},)"
                                R"("b":{"dtype":"BF16","shape":[3],"data_offsets":[16,22]},)"
                                R"("__metadata__":{"k":"v"}})",
                                std::string(22, 'x')),
                    Safetensors(R"({"a":{"dtype":"I64","shape":[],"data_offsets":[0,8]}})",
                                std::string(8, '\1')),
                    Npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }      \n",
                        std::string(24, '\0')),
                    Npy("{'descr': '<f2', 'fortran_order': False, 'shape': (4,), }        \n",
                        std::string(8, '\0')),
                    // Two regions of one feature each.
                    "42\t120\t80\t2\tAAAAAAAAAAAAAIA/AACAPwAAAAAAAAAAAACAPwAAgD8=\tAACAPwAAAEA=\n",
                    "image_id\timage_w\timage_h\tnum_boxes\tboxes\tfeatures\n"},
          .run = Run};
}

}  // namespace dime
