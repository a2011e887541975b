#include "client/search_flags.h"

#include "CLI/CLI.hpp"

namespace dime {

void SearchFlags::Define(CLI::App* command) {
  command->add_option("-k,--top-k", top_k, "Hits to show (default: 10)")->type_name("N");
  command
      ->add_option("--rerank-depth", rerank_depth,
                   "Recalled candidates that DIME scores (default: see dime info)")
      ->type_name("N");
  command->add_flag("--exact", exact, "Score the whole gallery instead of recalled candidates");
  command->add_option("--mode", mode, "Which model orders the hits (default: all that there are)")
      ->type_name("MODE")
      ->check(CLI::IsMember({"i2t", "t2i", "ensemble"}));
  command
      ->add_option("--view", view,
                   "full: scores and timings behind the hits; explain: path weights too")
      ->type_name("VIEW")
      ->check(CLI::IsMember({"basic", "full", "explain"}));
  command
      ->add_option("--effort", effort,
                   "Effort of an approximate index: nprobe of IVF, efSearch of HNSW")
      ->type_name("N");
  command
      ->add_option("--fusion-weight", fusion_weight,
                   "Share of the coarse score, 0 to 1 (default: see dime info)")
      ->type_name("W");
  command->add_flag("--adaptive-depth", adaptive_depth,
                    "Rerank in waves until the hits can hardly change any more");
  command->add_option("--filter", filter, "Only items that match, in AIP-160's language")
      ->type_name("FILTER");
  CLI::Option* grouping =
      command
          ->add_option("--group-by", group_by,
                       "Of hits that share this payload field's value, the best alone")
          ->type_name("FIELD");
  command->add_option("--group-size", group_size, "Or so many of them")
      ->type_name("N")
      ->needs(grouping);
  command
      ->add_option("--min-coarse-score", min_coarse_score,
                   "Rerank no candidates with a lower coarse score")
      ->type_name("SCORE");
  command
      ->add_option("--min-rerank-score", min_rerank_score, "Show no hits with a lower rerank score")
      ->type_name("SCORE");
  command->add_option("--min-final-score", min_final_score, "Show no hits with a lower final score")
      ->type_name("SCORE");
  command->add_flag("--with-payload", with_payload, "Show the hits' payloads too");
  command
      ->add_option("--min-rerank-depth", min_rerank_depth,
                   "If time is short, score fewer, but so many (default: as -k)")
      ->type_name("N");
  command->add_flag("--coarse-on-error", coarse_on_error,
                    "If scoring fails, show the coarse order");
  command->add_flag("--bulk", bulk, "Let calls that somebody waits for go first");
  command->add_flag("--paged", paged, "Keep the rest, so that --page-token can ask for it");
  command
      ->add_option("--page-token", page_token,
                   "The next hits of a search with --paged; all else must be as it was")
      ->type_name("TOKEN");
}

v1::ScoreMode ToScoreMode(absl::string_view name) {
  if (name == "i2t") return v1::SCORE_MODE_I2T;
  if (name == "t2i") return v1::SCORE_MODE_T2I;
  if (name == "ensemble") return v1::SCORE_MODE_ENSEMBLE;
  return v1::SCORE_MODE_UNSPECIFIED;
}

v1::SearchOptions SearchFlags::ToOptions() const {
  v1::SearchOptions options;
  if (top_k.has_value()) options.set_top_k(*top_k);
  if (rerank_depth.has_value()) options.set_rerank_depth(*rerank_depth);
  options.set_exact(exact);
  options.set_score_mode(ToScoreMode(mode));
  if (view == "basic") options.set_view(v1::RESULT_VIEW_BASIC);
  if (view == "full") options.set_view(v1::RESULT_VIEW_FULL);
  if (view == "explain") options.set_view(v1::RESULT_VIEW_EXPLAIN);
  if (effort.has_value()) options.set_search_effort(*effort);
  if (fusion_weight.has_value()) options.set_fusion_weight(*fusion_weight);
  options.set_adaptive_depth(adaptive_depth);
  options.set_filter(filter);
  options.set_group_by(group_by);
  if (group_size.has_value()) options.set_group_size(*group_size);
  if (min_coarse_score.has_value()) options.set_min_coarse_score(*min_coarse_score);
  if (min_rerank_score.has_value()) options.set_min_rerank_score(*min_rerank_score);
  if (min_final_score.has_value()) options.set_min_final_score(*min_final_score);
  options.set_with_payload(with_payload);
  if (min_rerank_depth.has_value()) options.set_min_rerank_depth(*min_rerank_depth);
  if (coarse_on_error) options.set_on_rerank_error(v1::ON_RERANK_ERROR_COARSE_ORDER);
  if (bulk) options.set_priority(v1::PRIORITY_BULK);
  options.set_paged(paged || !page_token.empty());
  options.set_page_token(page_token);
  return options;
}

}  // namespace dime
