#include "client/result_printer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "client/message_json.h"
#include "client/text_table.h"

namespace dime {
namespace {

constexpr TextTable::Align kRight = TextTable::Align::kRight;
constexpr int kCells = 4;
constexpr int kLayers = 3;
constexpr std::array<absl::string_view, kCells> kCellNames = {"RIC", "GLGC", "IMRC", "CMRC"};
// Enough of a fingerprint to tell two apart; `dime info` shows them whole.
constexpr size_t kShortFingerprint = 12;

std::string FormatScore(float score) { return absl::StrFormat("%.4f", score); }

std::string FormatWeight(float weight) { return absl::StrFormat("%.3g", weight); }

std::string FormatMilliseconds(const google::protobuf::Duration& duration) {
  return absl::StrFormat("%.1f", static_cast<double>(duration.seconds()) * 1e3 +
                                     static_cast<double>(duration.nanos()) * 1e-6);
}

absl::string_view ModeName(v1::ScoreMode mode) {
  switch (mode) {
    case v1::SCORE_MODE_I2T:
      return "i2t";
    case v1::SCORE_MODE_T2I:
      return "t2i";
    case v1::SCORE_MODE_ENSEMBLE:
      return "ensemble";
    default:
      return "?";
  }
}

// How many places reranking moved the hit that is now at `place`: up is good.
TextTable::Cell MoveCell(int coarse_rank, int place) {
  const int up = coarse_rank - place;
  if (up == 0) return TextTable::Cell("=", Style::kFaint);
  return TextTable::Cell(absl::StrFormat("%+d", up), up > 0 ? Style::kGood : Style::kBad);
}

// The columns that hits of both kinds share: place, score and, where the view tells them, details.
template <typename Hits>
class LeadingColumns {
 public:
  explicit LeadingColumns(const Hits& hits) {
    for (const auto& hit : hits) {
      details_ |= hit.has_details();
      i2t_ |= hit.details().has_i2t_score();
      t2i_ |= hit.details().has_t2i_score();
      fused_ |= hit.details().has_rerank_score() && hit.details().rerank_score() != hit.score();
    }
    fused_ &= i2t_ && t2i_;  // one direction's score is the rerank score
  }

  void AppendColumns(std::vector<TextTable::Column>* columns) const {
    columns->push_back({"#", kRight});
    columns->push_back({"score", kRight});
    if (i2t_) columns->push_back({"i2t", kRight});
    if (t2i_) columns->push_back({"t2i", kRight});
    if (fused_) columns->push_back({"rerank", kRight});
    if (details_) {
      columns->push_back({"coarse", kRight});
      columns->push_back({"from", kRight});
      columns->push_back({"moved", kRight});
    }
  }

  template <typename Hit>
  void AppendCells(const Hit& hit, int place, std::vector<TextTable::Cell>* cells) const {
    const v1::ScoreDetails& details = hit.details();
    cells->emplace_back(absl::StrCat(place), Style::kFaint);
    cells->emplace_back(FormatScore(hit.score()), Style::kBold);
    if (i2t_) cells->emplace_back(details.has_i2t_score() ? FormatScore(details.i2t_score()) : "");
    if (t2i_) cells->emplace_back(details.has_t2i_score() ? FormatScore(details.t2i_score()) : "");
    if (fused_) {
      cells->emplace_back(details.has_rerank_score() ? FormatScore(details.rerank_score()) : "");
    }
    if (details_) {
      cells->emplace_back(FormatScore(details.coarse_score()));
      cells->emplace_back(absl::StrCat(details.coarse_rank()));
      cells->push_back(MoveCell(details.coarse_rank(), place));
    }
  }

 private:
  bool details_ = false;
  bool i2t_ = false;
  bool t2i_ = false;
  bool fused_ = false;  // the rerank score is neither the final one nor a direction's
};

// Path weights by layer, cell and path; layer 2 has one path, number 0. NaN where none came.
using PathGrid = std::array<std::array<std::array<float, kCells>, kCells>, kLayers>;

PathGrid MakePathGrid(const v1::Routing& routing) {
  PathGrid grid;
  for (auto& layer : grid) {
    for (auto& cell : layer) cell.fill(std::nanf(""));
  }
  for (const v1::PathWeight& weight : routing.path_weights()) {
    const int layer = weight.layer();
    const int cell = weight.cell() - v1::CELL_RIC;
    const int path = layer == kLayers - 1 ? 0 : weight.path() - v1::CELL_RIC;
    if (layer < 0 || layer >= kLayers || cell < 0 || cell >= kCells || path < 0 || path >= kCells) {
      continue;  // of a server newer than this program
    }
    grid[layer][cell][path] = weight.weight();
  }
  return grid;
}

// Five columns: two of shade, to be seen from afar, and three of percent. Only a weight of exactly
// zero, a shut gate, has no shade.
std::string WeightCell(float weight, const Terminal& terminal) {
  static constexpr std::array<absl::string_view, 5> kShades = {"  ", "░░", "▒▒", "▓▓", "██"};
  static constexpr std::array<absl::string_view, 5> kAsciiShades = {"  ", "..", "::", "**", "##"};
  if (std::isnan(weight)) return "    ?";
  const float share = std::clamp(weight, 0.0f, 1.0f);
  const size_t level = share == 0 ? 0 : std::min<size_t>(4, 1 + static_cast<size_t>(share * 4));
  return absl::StrCat(terminal.unicode ? kShades[level] : kAsciiShades[level],
                      absl::StrFormat("%3.0f", share * 100));
}

std::string FormatRouting(const v1::Routing& routing, const Terminal& terminal) {
  const PathGrid grid = MakePathGrid(routing);
  std::string text =
      absl::StrFormat("  %-4s   %s    %s    %s\n         ", ModeName(routing.direction()),
                      "layer 0 -> cell of layer 1", "layer 1 -> cell of layer 2", "layer 2");
  for (int layer = 0; layer < 2; ++layer) {
    for (int path = 0; path < kCells; ++path) {
      absl::StrAppend(&text, absl::StrFormat("%5s", kCellNames[path]),
                      path + 1 < kCells ? "  " : "    ");
    }
  }
  absl::StrAppend(&text, " gate\n");
  for (int cell = 0; cell < kCells; ++cell) {
    absl::StrAppend(&text, absl::StrFormat("  %-4s   ", kCellNames[cell]));
    for (int layer = 0; layer < 2; ++layer) {
      for (int path = 0; path < kCells; ++path) {
        absl::StrAppend(&text, WeightCell(grid[layer][cell][path], terminal),
                        path + 1 < kCells ? "  " : "    ");
      }
    }
    absl::StrAppend(&text, WeightCell(grid[kLayers - 1][cell][0], terminal), "\n");
  }
  return text;
}

template <typename Hits>
std::string FormatRoutings(const Hits& hits, const Terminal& terminal) {
  std::string text;
  int place = 0;
  for (const auto& hit : hits) {
    ++place;
    if (hit.details().routings().empty()) continue;
    absl::StrAppend(
        &text, "\n",
        Styled(absl::StrCat("#", place, "  ", Printable(hit.id())), Style::kBold, terminal), "\n");
    for (const v1::Routing& routing : hit.details().routings()) {
      absl::StrAppend(&text, FormatRouting(routing, terminal));
    }
  }
  if (text.empty()) return text;
  absl::StrAppend(
      &text, "\n",
      Styled("Percent of a column's input that comes from a row's cell; unshaded: exactly "
             "0.\nA column of zeros has all its gates shut and takes RIC's output.",
             Style::kFaint, terminal),
      "\n");
  return text;
}

// "64 reranked", "24 reranked of 64 recalled", "64 recalled, none reranked".
std::string FormatCounts(const v1::SearchStats& stats) {
  if (stats.reranked_count() == 0 && stats.recalled_count() > 0) {
    return absl::StrCat(stats.recalled_count(), " recalled, none reranked,");
  }
  return absl::StrCat(stats.reranked_count(), " reranked",
                      stats.recalled_count() > stats.reranked_count()
                          ? absl::StrCat(" of ", stats.recalled_count(), " recalled")
                          : "");
}

// What a search took, and of what: views FULL and EXPLAIN.
template <typename Response>
std::string FormatStats(const Response& response, const Terminal& terminal) {
  if (!response.has_stats()) return "";
  const v1::SearchStats& stats = response.stats();
  std::string text = absl::StrCat(
      "\n", response.hits_size(), response.hits_size() == 1 ? " hit of " : " hits of ",
      FormatCounts(stats), " in ", FormatMilliseconds(stats.total_time()), " ms: queue ",
      FormatMilliseconds(stats.queue_time()), ", encode ", FormatMilliseconds(stats.encode_time()),
      ", recall ", FormatMilliseconds(stats.recall_time()), ", rerank ",
      FormatMilliseconds(stats.rerank_time()), ", select ", FormatMilliseconds(stats.select_time()),
      "\n");
  if (stats.fusion_weight() > 0) {
    absl::StrAppend(&text, "score = ", FormatWeight(1 - stats.fusion_weight()), " x rerank + ",
                    FormatWeight(stats.fusion_weight()), " x coarse\n");
  }
  if (stats.text_truncated()) {
    absl::StrAppend(&text, "the text is longer than the model takes: its end was left out\n");
  }
  absl::StrAppend(
      &text,
      Styled(absl::StrCat(
                 "gallery ", Printable(response.gallery_version().substr(0, kShortFingerprint)),
                 ", model ", Printable(response.model_fingerprint().substr(0, kShortFingerprint))),
             Style::kFaint, terminal),
      "\n");
  return text;
}

absl::string_view DescribeReason(int reason) {
  switch (reason) {
    case v1::DEGRADATION_REASON_DEADLINE:
      return "too little time was left";
    case v1::DEGRADATION_REASON_QUEUE_FULL:
      return "the reranker had no room";
    case v1::DEGRADATION_REASON_RERANK_FAILED:
      return "the reranker failed";
    default:
      return "for a reason that this client does not know";
  }
}

// In what the answer is less than was asked; empty if it is not.
std::string FormatDegradation(const v1::Degradation& degradation) {
  std::vector<absl::string_view> reasons;
  for (const int reason : degradation.reasons()) reasons.push_back(DescribeReason(reason));
  if (reasons.empty()) return "";
  return absl::StrCat("\ndegraded: ",
                      degradation.reranked_count() == 0
                          ? "nothing was reranked, this is the coarse order"
                          : absl::StrCat(degradation.reranked_count(), " of ",
                                         degradation.wanted_count(), " candidates were reranked"),
                      " (", absl::StrJoin(reasons, ", "), ")\n");
}

// How to get the next page; empty if there is none.
std::string FormatNextPage(absl::string_view token) {
  return token.empty() ? "" : absl::StrCat("\nmore: --page-token ", Printable(token), "\n");
}

template <typename Response>
std::string FormatHits(const Response& response, const TextTable& table, const Terminal& terminal) {
  return absl::StrCat(response.hits().empty() ? "no hits\n" : table.Render(terminal),
                      FormatStats(response, terminal), FormatRoutings(response.hits(), terminal),
                      FormatDegradation(response.degradation()),
                      FormatNextPage(response.next_page_token()));
}

template <typename Hits>
bool HavePayloads(const Hits& hits) {
  return std::any_of(hits.begin(), hits.end(), [](const auto& hit) { return hit.has_payload(); });
}

std::string FormatBytes(int64_t bytes) {
  if (bytes >= 1 << 20) return absl::StrFormat("%.4g MiB", static_cast<double>(bytes) / (1 << 20));
  if (bytes >= 1 << 10) return absl::StrFormat("%.4g KiB", static_cast<double>(bytes) / (1 << 10));
  return absl::StrCat(bytes, " bytes");
}

std::string EffortName(int effort) { return effort > 0 ? absl::StrCat(effort) : "the index's own"; }

}  // namespace

std::string FormatImages(const v1::SearchImagesResponse& response, const Terminal& terminal) {
  const LeadingColumns leading(response.hits());
  bool sizes = false;
  bool uris = false;
  for (const v1::ImageHit& hit : response.hits()) {
    sizes |= hit.width() > 0 && hit.height() > 0;
    uris |= !hit.uri().empty();
  }
  std::vector<TextTable::Column> columns;
  leading.AppendColumns(&columns);
  columns.push_back({"image"});
  if (sizes) columns.push_back({"pixels"});
  if (uris) columns.push_back({"uri"});
  const bool payloads = HavePayloads(response.hits());
  if (payloads) columns.push_back({"payload", TextTable::Align::kLeft, /*wrap=*/true});

  TextTable table(std::move(columns));
  int place = 0;
  for (const v1::ImageHit& hit : response.hits()) {
    std::vector<TextTable::Cell> cells;
    leading.AppendCells(hit, ++place, &cells);
    cells.emplace_back(hit.id());
    if (sizes) {
      cells.emplace_back(
          hit.width() > 0 && hit.height() > 0 ? absl::StrCat(hit.width(), "x", hit.height()) : "");
    }
    if (uris) cells.emplace_back(hit.uri(), Style::kFaint);
    if (payloads) cells.emplace_back(PayloadText(hit.payload()), Style::kFaint);
    table.AddRow(std::move(cells));
  }
  return FormatHits(response, table, terminal);
}

std::string FormatCaptions(const v1::SearchCaptionsResponse& response, const Terminal& terminal) {
  const LeadingColumns leading(response.hits());
  // Ids are mostly "<image id>#<number>", and then say it all.
  const bool images =
      std::any_of(response.hits().begin(), response.hits().end(), [](const v1::CaptionHit& hit) {
        return !hit.image_id().empty() &&
               !absl::StartsWith(hit.id(), absl::StrCat(hit.image_id(), "#"));
      });
  std::vector<TextTable::Column> columns;
  leading.AppendColumns(&columns);
  columns.push_back({"id"});
  if (images) columns.push_back({"image"});
  columns.push_back({"caption", TextTable::Align::kLeft, /*wrap=*/true});
  const bool payloads = HavePayloads(response.hits());
  if (payloads) columns.push_back({"payload", TextTable::Align::kLeft, /*wrap=*/true});

  TextTable table(std::move(columns));
  int place = 0;
  for (const v1::CaptionHit& hit : response.hits()) {
    std::vector<TextTable::Cell> cells;
    leading.AppendCells(hit, ++place, &cells);
    cells.emplace_back(hit.id(), Style::kFaint);
    if (images) cells.emplace_back(hit.image_id(), Style::kFaint);
    cells.emplace_back(hit.text());
    if (payloads) cells.emplace_back(PayloadText(hit.payload()), Style::kFaint);
    table.AddRow(std::move(cells));
  }
  return FormatHits(response, table, terminal);
}

std::string FormatInfo(const v1::GetInfoResponse& response, absl::string_view address,
                       const Terminal& terminal) {
  std::string text;
  // A label at the head of its first line, none on the lines that follow.
  const auto add = [&](absl::string_view label, const auto&... words) {
    absl::StrAppend(&text, Styled(absl::StrFormat("%-9s", label), Style::kFaint, terminal),
                    Printable(absl::StrCat(words...)), "\n");
  };

  add("server", response.server_version(), " at ", address,
      response.has_start_time()
          ? absl::FormatTime(", ready since %Y-%m-%d %H:%M:%S UTC",
                             absl::FromUnixSeconds(response.start_time().seconds()),
                             absl::UTCTimeZone())
          : "");

  const v1::GalleryInfo& gallery = response.gallery();
  add("gallery", gallery.name(), ", version ", gallery.version());
  const auto held = [](int64_t count, absl::string_view what, absl::string_view index) {
    return absl::StrCat(count, " ", what, index.empty() ? "" : absl::StrCat(" (", index, ")"));
  };
  add("", held(gallery.image_count(), "images", gallery.image_index()), ", ",
      held(gallery.caption_count(), "captions", gallery.caption_index()));

  const v1::ModelInfo& model = response.model();
  add("model", model.name(), " on ", model.device(),
      model.scorer().empty() ? "" : absl::StrCat(" (", model.scorer(), ")"), ", fingerprint ",
      model.fingerprint());
  add("", model.num_regions(), " regions of ", model.feature_dim(), " features, ",
      model.max_words(), " words");
  add("", "coarse embedding of ", model.coarse_dim(),
      model.coarse_heads() ? " by heads trained for recall"
                           : " by the directions' global vectors, not trained for recall");
  for (const v1::DirectionInfo& direction : model.directions()) {
    add("", ModeName(direction.direction()), ": E ", direction.embed_size(), ", ",
        direction.num_heads(), " heads, ", direction.raw_feature_norm(), ", lambda ",
        direction.lambda_softmax());
  }
  for (const v1::FusionWeight& weight : model.fusion_weights()) {
    add("", "score of ", ModeName(weight.score_mode()),
        weight.score_mode() == model.default_score_mode() ? " (default)" : "", ": coarse weighs ",
        FormatWeight(weight.images()), " for images, ", FormatWeight(weight.captions()),
        " for captions");
  }

  const v1::Limits& limits = response.limits();
  add("limits", "top_k ", limits.max_top_k(), ", rerank_depth ", limits.max_rerank_depth(),
      " (default ", limits.default_rerank_depth(), " for images, ",
      limits.default_caption_rerank_depth(), " for captions)");
  add("", "search_effort ", limits.max_search_effort(), " (default ",
      EffortName(limits.default_search_effort()), " for images, ",
      EffortName(limits.default_caption_search_effort()), " for captions)");
  add("", "exact up to ", limits.max_exact_items(), " items, text of ",
      limits.max_text_characters(), " characters, requests of ",
      FormatBytes(limits.max_request_bytes()));
  return text;
}

}  // namespace dime
