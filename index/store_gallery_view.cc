#include "index/store_gallery_view.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "index/float_bits.h"
#include "index/item_codec.h"
#include "index/record_subject.h"
#include "index/status_macros.h"
#include "index/text_lines.h"

namespace dime {
namespace {

constexpr int64_t kMoreForQuantised = 4;  // a quarter more candidates are looked at
constexpr size_t kMaxSingleReads = 256;   // above that a stretch of the store is read in order

// Best first, ties by row.
bool IsBetter(const Candidate& a, const Candidate& b) {
  return a.score != b.score ? a.score > b.score : a.row < b.row;
}

template <typename Visit, typename Decode>
absl::Status VisitRecords(const ItemStore& store, const ItemStore::Snapshot* snapshot,
                          Modality modality, absl::Span<const int64_t> rows, Visit visit,
                          Decode decode) {
  return store.Read(snapshot, ItemStore::Part::kRecord, modality, rows,
                    [&](size_t, absl::string_view value) -> absl::Status {
                      ASSIGN_OR_RETURN(const auto record, decode(value));
                      visit(record);
                      return absl::OkStatus();
                    });
}

}  // namespace

absl::StatusOr<int64_t> StoreGallery::View::FindRow(Modality modality, absl::string_view id) const {
  ASSIGN_OR_RETURN(const std::optional<int64_t> row,
                   gallery_.store_->FindRow(snapshot(), modality, id));
  if (row.has_value()) return *row;
  return absl::NotFoundError(absl::StrCat("gallery ", info().name, " has no ",
                                          ModalityName(modality), " with the id ", Quoted(id)));
}

template <typename Visit>
void StoreGallery::View::VisitBase(const Side& side, const RowBitmap* matching, Visit visit) const {
  if (side.base == nullptr) return;
  const CoarseBase& base = *side.base;
  for (int64_t place = 0; place < base.size(); ++place) {
    if (!base.AliveAt(place, sequence())) continue;
    if (matching == nullptr || matching->Contains(base.row(place))) {
      visit(base.row(place), base.vector(place));
    }
  }
}

template <typename Visit>
void StoreGallery::View::VisitTail(const Side& side, const RowBitmap* matching, Visit visit) const {
  const CoarseTail& tail = *side.tail;
  for (int64_t place = 0; place < tail.size(); ++place) {
    if (!tail.AliveAt(place, sequence())) continue;
    if (matching == nullptr || matching->Contains(tail.row(place))) {
      visit(tail.row(place), tail.vector(place));
    }
  }
}

int64_t StoreGallery::View::CountBase(const Side& side, const RowBitmap& matching,
                                      int64_t most) const {
  int64_t count = 0;
  if (side.base == nullptr) return count;
  const CoarseBase& base = *side.base;
  for (int64_t place = 0; place < base.size() && count < most; ++place) {
    count += matching.Contains(base.row(place)) && base.AliveAt(place, sequence());
  }
  return count;
}

std::vector<int64_t> StoreGallery::View::RowsFrom(Modality modality, int64_t first) const {
  const Side& listed = side(modality);
  std::vector<int64_t> rows;
  const auto list = [&](const auto& segment) {
    for (int64_t place = segment.FirstPlace(first); place < segment.size(); ++place) {
      if (segment.AliveAt(place, sequence())) rows.push_back(segment.row(place));
    }
  };
  if (listed.base != nullptr) list(*listed.base);
  list(*listed.tail);
  return rows;
}

absl::Status StoreGallery::View::VisitImages(
    absl::Span<const int64_t> rows, RecordParts parts,
    absl::FunctionRef<void(const ImageRecord&)> visit) const {
  return VisitRecords(*gallery_.store_, snapshot(), Modality::kImage, rows, visit,
                      [parts](absl::string_view value) { return DecodeImageRecord(value, parts); });
}

absl::Status StoreGallery::View::VisitCaptions(
    absl::Span<const int64_t> rows, RecordParts parts,
    absl::FunctionRef<void(const CaptionRecord&)> visit) const {
  return VisitRecords(
      *gallery_.store_, snapshot(), Modality::kCaption, rows, visit,
      [parts](absl::string_view value) { return DecodeCaptionRecord(value, parts); });
}

absl::Span<const float> StoreGallery::View::CoarseOf(const Side& side, int64_t row) const {
  if (side.base != nullptr) {
    if (const std::optional<int64_t> place = side.base->FindPlace(row)) {
      return side.base->vector(*place);
    }
  }
  if (const std::optional<int64_t> place = side.tail->FindPlace(row)) {
    return side.tail->vector(*place);
  }
  return {};
}

absl::StatusOr<EncodedItems> StoreGallery::View::ReadFeatures(
    Modality modality, absl::Span<const int64_t> rows) const {
  EncodedItems items = CopyItems(shape(modality), {});
  for (DirectionFeatures& features : items.directions) {
    features.local.reserve(rows.size() * static_cast<size_t>(items.positions) *
                           static_cast<size_t>(features.embed_size));
  }
  const auto add = [&](size_t i, absl::string_view value) -> absl::Status {
    RETURN_IF_ERROR(DecodeFeatures(value, gallery_.manifest_.form, items));
    const absl::Span<const float> coarse = CoarseOf(side(modality), rows[i]);
    if (coarse.empty()) {
      return absl::NotFoundError(absl::StrCat("gallery ", info().name, " has no ",
                                              ModalityName(modality), " in row ", rows[i]));
    }
    items.coarse.insert(items.coarse.end(), coarse.begin(), coarse.end());
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(
      gallery_.store_->Read(snapshot(), ItemStore::Part::kFeatures, modality, rows, add));
  return items;
}

absl::StatusOr<bool> StoreGallery::View::Matches(Modality modality, const ItemFilter& filter,
                                                 absl::string_view record) const {
  if (modality == Modality::kImage) {
    ASSIGN_OR_RETURN(const ImageRecord image, DecodeImageRecord(record));
    return filter.Matches(SubjectOf(image));
  }
  ASSIGN_OR_RETURN(const CaptionRecord caption, DecodeCaptionRecord(record));
  return filter.Matches(SubjectOf(caption));
}

absl::StatusOr<std::vector<int64_t>> StoreGallery::View::Evaluate(
    Modality modality, const ItemFilter& filter, absl::Span<const int64_t> rows) const {
  constexpr auto kRecord = ItemStore::Part::kRecord;
  std::vector<int64_t> found;
  size_t seen = 0;
  if (rows.size() <= kMaxSingleReads) {
    RETURN_IF_ERROR(gallery_.store_->Read(snapshot(), kRecord, modality, rows,
                                          [&](size_t i, absl::string_view record) -> absl::Status {
                                            ASSIGN_OR_RETURN(const bool matches,
                                                             Matches(modality, filter, record));
                                            if (matches) found.push_back(rows[i]);
                                            return absl::OkStatus();
                                          }));
    return found;
  }
  RETURN_IF_ERROR(gallery_.store_->Scan(snapshot(), kRecord, modality, rows.front(), rows.back(),
                                        [&](int64_t row, absl::string_view record) -> absl::Status {
                                          if (row != rows[seen]) return absl::OkStatus();
                                          ASSIGN_OR_RETURN(const bool matches,
                                                           Matches(modality, filter, record));
                                          if (matches) found.push_back(row);
                                          ++seen;
                                          return absl::OkStatus();
                                        }));
  if (seen != rows.size()) {
    return absl::DataLossError(absl::StrCat("gallery ", info().name, ": the record of the ",
                                            ModalityName(modality), " in row ", rows[seen],
                                            " is missing"));
  }
  return found;
}

absl::StatusOr<std::shared_ptr<const RowBitmap>> StoreGallery::View::Matching(
    Modality modality, const ItemFilter& filter) const {
  return gallery_.filters_[static_cast<size_t>(modality)].Matching(
      filter, sequence(), [&](int64_t first) { return RowsFrom(modality, first); },
      [&](absl::Span<const int64_t> rows) { return Evaluate(modality, filter, rows); });
}

absl::StatusOr<std::vector<Candidate>> StoreGallery::View::Recall(
    Modality modality, absl::Span<const float> coarse_query, int64_t k,
    const RecallOptions& options) const {
  const Side& searched = side(modality);
  if (coarse_query.size() != static_cast<size_t>(shape(modality).coarse_dim)) {
    return absl::InvalidArgumentError(absl::StrCat("a coarse query of ", coarse_query.size(),
                                                   " floats; the gallery has ",
                                                   shape(modality).coarse_dim));
  }
  if (k < 0 || options.effort < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("k is ", k, " and effort ", options.effort, "; neither may be negative"));
  }
  if (FindNonFinite(coarse_query) >= 0) {
    return absl::InvalidArgumentError("the coarse query holds a NaN or an infinity");
  }
  k = std::min(k, searched.live);
  if (k == 0) return std::vector<Candidate>();

  std::shared_ptr<const RowBitmap> bitmap;
  if (options.filter != nullptr && !options.filter->matches_everything()) {
    ASSIGN_OR_RETURN(bitmap, Matching(modality, *options.filter));
  }
  const RowBitmap* const matching = bitmap.get();
  std::vector<Candidate> candidates;
  const auto compare = [&](int64_t row, absl::Span<const float> vector) {
    candidates.push_back({row, InnerProduct(vector, coarse_query)});
  };
  const auto scan_base = [&] { VisitBase(searched, matching, compare); };
  VisitTail(searched, matching, compare);

  // How many the base has to offer: with a filter counted, but no further than it matters.
  const int64_t most_scanned = gallery_.options_.max_scanned_matches;
  const int64_t in_base = matching == nullptr
                              ? searched.live - static_cast<int64_t>(candidates.size())
                              : CountBase(searched, *matching, std::max(k, most_scanned + 1));
  const int64_t wanted = std::min(k, in_base);
  const bool few = matching != nullptr && in_base <= most_scanned;
  if (options.exact || few || wanted == in_base) {
    scan_base();
  } else {
    const CoarseBase& base = *searched.base;
    const BaseSelection selection(&base, sequence(), matching);
    const bool all = matching == nullptr && searched.dead == 0;
    // The index may have seen the vectors through a quantiser; here they are as they were. A few
    // more candidates bring back what its rounding pushed below the k-th place.
    const int64_t asked = base.index().keeps_vectors() ? k : k + k / kMoreForQuantised;
    ASSIGN_OR_RETURN(
        const std::vector<Candidate> found,
        base.index().Search(coarse_query, asked,
                            {.effort = options.effort, .selection = all ? nullptr : &selection}));
    if (static_cast<int64_t>(found.size()) < wanted) {
      scan_base();  // a graph whose walk did not reach enough
    } else {
      for (const Candidate& candidate : found) {
        compare(base.row(candidate.row), base.vector(candidate.row));
      }
    }
  }
  const size_t kept = std::min(candidates.size(), static_cast<size_t>(k));
  std::partial_sort(candidates.begin(), candidates.begin() + static_cast<ptrdiff_t>(kept),
                    candidates.end(), IsBetter);
  candidates.resize(kept);
  return candidates;
}

}  // namespace dime
