#include "model/two_stage_output.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "model/line_plot.h"
#include "nlohmann/json.hpp"

namespace dime {
namespace {

using nlohmann::ordered_json;
using Summary = TwoStageReport::Summary;

// In the order in which they are told; the published tables have image to text first.
constexpr std::array<Modality, 2> kTargets = {Modality::kCaption, Modality::kImage};

const char* DirectionTitle(Modality target) {
  return target == Modality::kImage ? "text to image" : "image to text";
}
const char* DirectionKey(Modality target) {
  return target == Modality::kImage ? "text_to_image" : "image_to_text";
}
// Of the queries and of what is searched.
const char* Plural(Modality modality) {
  return modality == Modality::kImage ? "images" : "captions";
}

double Milliseconds(absl::Duration duration) { return absl::ToDoubleMilliseconds(duration); }

// A query's time: one coarse search, and scoring the window.
absl::Duration RerankTime(const TwoStageOutput::Kind& kind, int64_t depth) {
  return kind.rerank_per_pair * static_cast<double>(std::min(depth, kind.summary.items));
}

std::string MetricColumns(const RankMetrics& m) {
  return absl::StrFormat("%6.1f %5.1f %5.1f %5.0f", m.r1, m.r5, m.r10, m.median_rank);
}
constexpr char kNoMetrics[] = "                        ";

void AppendKind(std::string* out, const TwoStageOutput& output, Modality target) {
  const TwoStageOutput::Kind& kind = output.of(target);
  const Summary& s = kind.summary;
  const Modality queried = OtherModality(target);
  absl::StrAppendFormat(out,
                        "%s: %d %s searched, %d of the %d %s as queries\n"
                        "%.0f%% of the fused score is the coarse score\n\n",
                        DirectionTitle(target), s.items, Plural(target), s.queries,
                        output.of(queried).summary.items, Plural(queried),
                        100 * kind.fusion_weight);
  absl::StrAppend(out,
                  "            ---- rerank score -----   ----- fused score -----"
                  "  top-10 hits found       pairs    ms a query\n"
                  "     depth    R@1   R@5  R@10   med     R@1   R@5  R@10   med"
                  "    rerank  fused        scored   coarse  rerank\n");
  const auto row = [&](const std::string& name, const std::string& rerank, const std::string& fused,
                       const std::string& rest) {
    absl::StrAppendFormat(out, "%10s %s  %s%s\n", name, rerank, fused, rest);
  };
  row("coarse", MetricColumns(s.coarse), kNoMetrics, absl::StrFormat(" %26d", 0));
  for (size_t d = 0; d < s.depths.size(); ++d) {
    const TwoStageReport::AtDepth& at = s.depths[d];
    row(absl::StrCat(at.depth), MetricColumns(at.rerank.metrics), MetricColumns(at.fused.metrics),
        absl::StrFormat("  %7.2f%% %6.2f%% %12d %8.2f %7.1f", at.rerank.recalled, at.fused.recalled,
                        at.pairs, Milliseconds(kind.coarse_search[d]),
                        Milliseconds(RerankTime(kind, at.depth))));
  }
  row("exhaustive", MetricColumns(s.rerank), MetricColumns(s.fused),
      absl::StrFormat("  %7.2f%% %6.2f%% %12d %8s %7.1f", 100.0, 100.0, s.exhaustive_pairs, "-",
                      Milliseconds(RerankTime(kind, s.items))));
  const auto share = [&](int64_t depth) {
    return 100.0 * static_cast<double>(depth) / static_cast<double>(std::max<int64_t>(s.items, 1));
  };
  absl::StrAppendFormat(out,
                        "\n%.0f%% of the exhaustive top-10 hits are found from depth %d on by the "
                        "rerank score (%.1f%% "
                        "of the %s),\nfrom %d on by the fused score (%.1f%%).\n\n",
                        TwoStageReport::kTargetRecall, s.rerank_depth_needed,
                        share(s.rerank_depth_needed), Plural(target), s.fused_depth_needed,
                        share(s.fused_depth_needed));
}

// The depth that stands for two stages where there is room for one: the deepest up to 100, else the
// shallowest.
size_t TypicalDepth(const Summary& summary) {
  size_t chosen = 0;
  for (size_t d = 0; d < summary.depths.size(); ++d) {
    if (summary.depths[d].depth <= 100) chosen = d;
  }
  return chosen;
}

void AppendCaptionKinds(std::string* out, Modality target, const TwoStageOutput::Kind& kind) {
  if (kind.by_caption_kind.empty() || kind.summary.depths.empty()) return;
  const size_t typical = TypicalDepth(kind.summary);
  absl::StrAppendFormat(out, "%s by kind of caption (two stages: depth %d)\n\n",
                        DirectionTitle(target), kind.summary.depths[typical].depth);
  absl::StrAppend(out, std::string(24, ' '));
  for (const char* order : {"coarse", "two stages, rerank", "two stages, fused",
                            "exhaustive, rerank", "exhaustive, fused"}) {
    absl::StrAppendFormat(out, " %19s", order);
  }
  absl::StrAppendFormat(out, "\n%-16s %7s", "", "queries");
  for (int order = 0; order < 5; ++order) absl::StrAppend(out, "     R@1   R@5  R@10");
  absl::StrAppend(out, "\n");
  const auto row = [&](const std::string& name, const Summary& s) {
    absl::StrAppendFormat(out, "%-16s %7d", name, s.queries);
    const TwoStageReport::AtDepth& at = s.depths[typical];
    for (const RankMetrics* m :
         {&s.coarse, &at.rerank.metrics, &at.fused.metrics, &s.rerank, &s.fused}) {
      absl::StrAppendFormat(out, "  %6.1f %5.1f %5.1f", m->r1, m->r5, m->r10);
    }
    absl::StrAppend(out, "\n");
  };
  for (const auto& [name, summary] : kind.by_caption_kind) row(name, summary);
  row("all", kind.summary);
  absl::StrAppend(out, "\n");
}

// The six recalls' sum at the depth of number `d`.
double Rsum(const TwoStageOutput& output, size_t d,
            TwoStageReport::Order TwoStageReport::AtDepth::*order) {
  double sum = 0;
  for (const TwoStageOutput::Kind& kind : output.kinds) {
    sum += (kind.summary.depths[d].*order).metrics.recall_sum();
  }
  return sum;
}
double Rsum(const TwoStageOutput& output, RankMetrics Summary::*metrics) {
  double sum = 0;
  for (const TwoStageOutput::Kind& kind : output.kinds) {
    sum += (kind.summary.*metrics).recall_sum();
  }
  return sum;
}

ordered_json ToJson(const RankMetrics& m) {
  return {{"r1", m.r1},
          {"r5", m.r5},
          {"r10", m.r10},
          {"median_rank", m.median_rank},
          {"mean_rank", m.mean_rank}};
}

ordered_json ToJson(const Summary& s) {
  const auto order = [](const TwoStageReport::Order& o) {
    ordered_json json = ToJson(o.metrics);
    json["top10_recalled_percent"] = o.recalled;
    return json;
  };
  ordered_json json = {
      {"queries", s.queries},
      {"items", s.items},
      {"coarse", ToJson(s.coarse)},
      {"depths", ordered_json::array()},
      {"exhaustive",
       {{"pairs", s.exhaustive_pairs}, {"rerank", ToJson(s.rerank)}, {"fused", ToJson(s.fused)}}},
      {"depth_for_99_percent",
       {{"rerank", s.rerank_depth_needed}, {"fused", s.fused_depth_needed}}}};
  for (const TwoStageReport::AtDepth& at : s.depths) {
    json["depths"].push_back({{"depth", at.depth},
                              {"pairs", at.pairs},
                              {"rerank", order(at.rerank)},
                              {"fused", order(at.fused)}});
  }
  return json;
}

ordered_json ToJson(const TwoStageOutput::Kind& kind) {
  ordered_json json = ToJson(kind.summary);
  json["fusion_weight"] = kind.fusion_weight;
  json["rerank_ms_per_pair"] = Milliseconds(kind.rerank_per_pair);
  json["exhaustive"]["rerank_ms_per_query"] = Milliseconds(RerankTime(kind, kind.summary.items));
  for (size_t d = 0; d < kind.summary.depths.size(); ++d) {
    json["depths"][d]["coarse_ms_per_query"] = Milliseconds(kind.coarse_search[d]);
    json["depths"][d]["rerank_ms_per_query"] =
        Milliseconds(RerankTime(kind, kind.summary.depths[d].depth));
  }
  if (!kind.by_caption_kind.empty()) {
    ordered_json& kinds = json["by_caption_kind"] = ordered_json::object();
    for (const auto& [name, summary] : kind.by_caption_kind) kinds[name] = ToJson(summary);
  }
  return json;
}

}  // namespace

std::string TwoStageOutput::Table() const {
  std::string out = absl::StrFormat(
      "%s, %s, split %s of %s\nfirst stage: %s\n\n", model, ScoreModeName(mode), split, data,
      coarse_heads ? "trained heads" : "DIME's own global embeddings (no trained heads)");
  for (Modality target : kTargets) AppendKind(&out, *this, target);
  absl::StrAppend(&out, "rsum over both directions\n\n     depth  rerank   fused\n");
  absl::StrAppendFormat(&out, "%10s  %6.1f\n", "coarse", Rsum(*this, &Summary::coarse));
  for (size_t d = 0; d < kinds[0].summary.depths.size(); ++d) {
    absl::StrAppendFormat(&out, "%10d  %6.1f  %6.1f\n", kinds[0].summary.depths[d].depth,
                          Rsum(*this, d, &TwoStageReport::AtDepth::rerank),
                          Rsum(*this, d, &TwoStageReport::AtDepth::fused));
  }
  absl::StrAppendFormat(&out, "%10s  %6.1f  %6.1f\n\n", "exhaustive", Rsum(*this, &Summary::rerank),
                        Rsum(*this, &Summary::fused));
  for (Modality target : kTargets) AppendCaptionKinds(&out, target, of(target));
  absl::StrAppendFormat(
      &out,
      "Times on %s. coarse: searches of the flat index, measured one by one. rerank: the time "
      "of the\nexhaustive scoring by pair (%.3f ms), times the depth; no search was timed as a "
      "whole, and encoding the\nquery is not in it.\n",
      device, Milliseconds(of(Modality::kImage).rerank_per_pair));
  return out;
}

std::string TwoStageOutput::Json() const {
  ordered_json rsum = {
      {"coarse", Rsum(*this, &Summary::coarse)},
      {"depths", ordered_json::array()},
      {"exhaustive",
       {{"rerank", Rsum(*this, &Summary::rerank)}, {"fused", Rsum(*this, &Summary::fused)}}}};
  for (size_t d = 0; d < kinds[0].summary.depths.size(); ++d) {
    rsum["depths"].push_back({{"depth", kinds[0].summary.depths[d].depth},
                              {"rerank", Rsum(*this, d, &TwoStageReport::AtDepth::rerank)},
                              {"fused", Rsum(*this, d, &TwoStageReport::AtDepth::fused)}});
  }
  const ordered_json json = {
      {"model", model},
      {"data", data},
      {"split", split},
      {"direction", ScoreModeName(mode)},
      {"device", device},
      {"coarse_heads", coarse_heads},
      {"time_method",
       "coarse: flat index searches, measured; rerank: exhaustive scoring time by pair x depth"},
      {DirectionKey(Modality::kCaption), ToJson(of(Modality::kCaption))},
      {DirectionKey(Modality::kImage), ToJson(of(Modality::kImage))},
      {"rsum", std::move(rsum)}};
  return json.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

std::string TwoStageOutput::Plot() const {
  constexpr char kBlue[] = "#1f6fb4", kOrange[] = "#d9660a", kDashed[] = "7 4", kDotted[] = "2 3";
  LinePlot plot;
  plot.title = absl::StrFormat("Quality against rerank depth: %s, %s, split %s", model,
                               ScoreModeName(mode), split);
  for (const auto& [recall, colour] : {std::pair{"R@10", kBlue}, std::pair{"R@1", kOrange}}) {
    const std::string name = recall;
    plot.styles.push_back({name + " rerank", colour, "", /*markers=*/true, 2});
    plot.styles.push_back({name + " fused", colour, kDashed, /*markers=*/true, 2});
    plot.styles.push_back({name + " exhaustive rerank", colour, "", /*markers=*/false, 1});
    plot.styles.push_back({name + " exhaustive fused", colour, kDotted, /*markers=*/false, 1.2});
  }
  for (Modality target : kTargets) {
    const Summary& s = of(target).summary;
    LinePlot::Panel panel{.title = absl::StrFormat("%s: %d %s, %d queries", DirectionTitle(target),
                                                   s.items, Plural(target), s.queries),
                          .x_label = "rerank depth",
                          .y_label = "percent of queries"};
    for (size_t style = 0; style < plot.styles.size(); ++style) {
      double RankMetrics::*const recall = style < 4 ? &RankMetrics::r10 : &RankMetrics::r1;
      const bool fused = style % 2 == 1;
      const bool exhaustive = style % 4 >= 2;
      LinePlot::Line line{.style = style};
      for (const TwoStageReport::AtDepth& at : s.depths) {
        const RankMetrics& metrics =
            exhaustive ? (fused ? s.fused : s.rerank) : (fused ? at.fused : at.rerank).metrics;
        line.points.emplace_back(static_cast<double>(at.depth), metrics.*recall);
      }
      panel.lines.push_back(std::move(line));
    }
    plot.panels.push_back(std::move(panel));
  }
  return plot.ToSvg();
}

}  // namespace dime
