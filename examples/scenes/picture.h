#ifndef DIME_EXAMPLES_SCENES_PICTURE_H_
#define DIME_EXAMPLES_SCENES_PICTURE_H_

#include <cairo.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace dime::scenes {

// Eight-bit RGB pixels, (height, width, 3), row-major. A value type.
struct Picture {
  Picture(int width, int height)
      : width(width), height(height), pixels(static_cast<size_t>(width) * height * 3) {}

  const uint8_t* At(int x, int y) const {
    return &pixels[(static_cast<size_t>(y) * width + x) * 3];
  }
  uint8_t* At(int x, int y) { return &pixels[(static_cast<size_t>(y) * width + x) * 3]; }

  int width;
  int height;
  std::vector<uint8_t> pixels;
};

// Cairo's objects, owned.
struct CairoSurfaceDeleter {
  void operator()(cairo_surface_t* surface) const { cairo_surface_destroy(surface); }
};
struct CairoDeleter {
  void operator()(cairo_t* cairo) const { cairo_destroy(cairo); }
};
using CairoSurface = std::unique_ptr<cairo_surface_t, CairoSurfaceDeleter>;
using Cairo = std::unique_ptr<cairo_t, CairoDeleter>;

// Between pictures and Cairo's image surfaces (CAIRO_FORMAT_RGB24).
CairoSurface ToSurface(const Picture& picture);
Picture FromSurface(cairo_surface_t* surface);

absl::Status WritePng(const Picture& picture, const std::string& path);

// Reads a PNG of any size, over white where it is transparent, and scales it to width x height.
// NOT_FOUND or INVALID_ARGUMENT, naming the path, where that cannot be done.
absl::StatusOr<Picture> ReadPng(const std::string& path, int width, int height);

}  // namespace dime::scenes

#endif  // DIME_EXAMPLES_SCENES_PICTURE_H_
