#include "index/features.h"

#include <cstddef>

namespace dime {

absl::string_view ModalityName(Modality modality) {
  return modality == Modality::kImage ? "image" : "caption";
}

absl::string_view DirectionName(Direction direction) {
  return direction == Direction::kI2t ? "i2t" : "t2i";
}

absl::string_view ScoreModeName(ScoreMode mode) {
  switch (mode) {
    case ScoreMode::kI2t:
      return "i2t";
    case ScoreMode::kT2i:
      return "t2i";
    case ScoreMode::kEnsemble:
      break;
  }
  return "ensemble";
}

EncodedItemsView EncodedItemsView::Slice(int64_t first, int64_t n) const {
  // Items [first, first + n) of an array with `size` entries an item.
  const auto cut = [first, n](auto span, int64_t size) {
    return span.subspan(static_cast<size_t>(first * size), static_cast<size_t>(n * size));
  };
  EncodedItemsView slice = *this;
  slice.count = n;
  slice.lengths = cut(lengths, 1);
  for (DirectionFeaturesView& direction : slice.directions) {
    const int64_t embed_size = direction.embed_size;
    direction.local = cut(direction.local, positions * embed_size);
    direction.global = cut(direction.global, embed_size);
  }
  slice.coarse = cut(coarse, coarse_dim);
  return slice;
}

EncodedItemsView EncodedItems::view() const {
  EncodedItemsView view;
  view.modality = modality;
  view.count = count;
  view.positions = positions;
  view.lengths = lengths;
  for (size_t i = 0; i < directions.size(); ++i) {
    view.directions[i].embed_size = directions[i].embed_size;
    view.directions[i].local = directions[i].local;
    view.directions[i].global = directions[i].global;
  }
  view.coarse_dim = coarse_dim;
  view.coarse = coarse;
  return view;
}

EncodedItemsView ShapeOf(const EncodedItemsView& items) { return items.Slice(0, 0); }

bool SameShape(const EncodedItemsView& a, const EncodedItemsView& b) {
  for (const Direction direction : kDirections) {
    if (a.of(direction).embed_size != b.of(direction).embed_size) return false;
  }
  return a.modality == b.modality && a.positions == b.positions && a.coarse_dim == b.coarse_dim;
}

EncodedItems CopyItems(const EncodedItemsView& items, absl::Span<const int64_t> places) {
  EncodedItems copy{.modality = items.modality,
                    .count = static_cast<int64_t>(places.size()),
                    .positions = items.positions,
                    .coarse_dim = items.coarse_dim};
  for (size_t i = 0; i < copy.directions.size(); ++i) {
    copy.directions[i].embed_size = items.directions[i].embed_size;
    copy.directions[i].local.reserve(places.size() * static_cast<size_t>(items.positions) *
                                     static_cast<size_t>(items.directions[i].embed_size));
  }
  for (const int64_t place : places) {
    const EncodedItemsView item = items.Slice(place, 1);
    const auto append = [](absl::Span<const float> values, std::vector<float>& to) {
      to.insert(to.end(), values.begin(), values.end());
    };
    copy.lengths.push_back(item.lengths[0]);
    for (size_t i = 0; i < copy.directions.size(); ++i) {
      append(item.directions[i].local, copy.directions[i].local);
      append(item.directions[i].global, copy.directions[i].global);
    }
    append(item.coarse, copy.coarse);
  }
  return copy;
}

}  // namespace dime
