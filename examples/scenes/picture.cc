#include "examples/scenes/picture.h"

#include <cstring>

#include "absl/strings/str_cat.h"

namespace dime::scenes {

CairoSurface ToSurface(const Picture& picture) {
  CairoSurface surface(
      cairo_image_surface_create(CAIRO_FORMAT_RGB24, picture.width, picture.height));
  cairo_surface_flush(surface.get());
  unsigned char* bytes = cairo_image_surface_get_data(surface.get());
  const int stride = cairo_image_surface_get_stride(surface.get());
  for (int y = 0; y < picture.height; ++y) {
    for (int x = 0; x < picture.width; ++x) {
      const uint8_t* rgb = picture.At(x, y);
      const uint32_t packed = uint32_t{rgb[0]} << 16 | uint32_t{rgb[1]} << 8 | rgb[2];
      std::memcpy(bytes + static_cast<size_t>(y) * stride + size_t{4} * x, &packed, 4);
    }
  }
  cairo_surface_mark_dirty(surface.get());
  return surface;
}

Picture FromSurface(cairo_surface_t* surface) {
  cairo_surface_flush(surface);
  Picture picture(cairo_image_surface_get_width(surface), cairo_image_surface_get_height(surface));
  const unsigned char* bytes = cairo_image_surface_get_data(surface);
  const int stride = cairo_image_surface_get_stride(surface);
  for (int y = 0; y < picture.height; ++y) {
    for (int x = 0; x < picture.width; ++x) {
      uint32_t packed = 0;
      std::memcpy(&packed, bytes + static_cast<size_t>(y) * stride + size_t{4} * x, 4);
      uint8_t* rgb = picture.At(x, y);
      rgb[0] = static_cast<uint8_t>(packed >> 16);
      rgb[1] = static_cast<uint8_t>(packed >> 8);
      rgb[2] = static_cast<uint8_t>(packed);
    }
  }
  return picture;
}

absl::Status WritePng(const Picture& picture, const std::string& path) {
  const CairoSurface surface = ToSurface(picture);
  const cairo_status_t status = cairo_surface_write_to_png(surface.get(), path.c_str());
  if (status == CAIRO_STATUS_SUCCESS) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("cannot write ", path, ": ", cairo_status_to_string(status)));
}

absl::StatusOr<Picture> ReadPng(const std::string& path, int width, int height) {
  const CairoSurface png(cairo_image_surface_create_from_png(path.c_str()));
  const cairo_status_t status = cairo_surface_status(png.get());
  if (status == CAIRO_STATUS_FILE_NOT_FOUND) {
    return absl::NotFoundError(absl::StrCat("there is no file ", path));
  }
  if (status != CAIRO_STATUS_SUCCESS) {  // which status says little: "out of memory" for no PNG
    return absl::InvalidArgumentError(absl::StrCat(path, " is no readable PNG picture"));
  }
  const CairoSurface scaled(cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height));
  const Cairo cairo(cairo_create(scaled.get()));
  cairo_set_source_rgb(cairo.get(), 1, 1, 1);
  cairo_paint(cairo.get());
  cairo_scale(cairo.get(), double(width) / cairo_image_surface_get_width(png.get()),
              double(height) / cairo_image_surface_get_height(png.get()));
  cairo_set_source_surface(cairo.get(), png.get(), 0, 0);
  cairo_pattern_set_extend(cairo_get_source(cairo.get()), CAIRO_EXTEND_PAD);
  cairo_paint(cairo.get());
  return FromSurface(scaled.get());
}

}  // namespace dime::scenes
