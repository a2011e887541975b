#ifndef DIME_SERVER_RESPONSE_WRITER_H_
#define DIME_SERVER_RESPONSE_WRITER_H_

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "dime/v1/retrieval.pb.h"
#include "index/gallery.h"
#include "model/model_info.h"
#include "server/pipeline/explain_pipeline.h"
#include "server/pipeline/search_types.h"
#include "server/search_limits.h"

namespace dime {

// What a call took besides the pipeline's own stages.
struct CallTimings {
  absl::Duration queue;  // waiting for a worker
  absl::Duration total;  // from admission
};

// Turns results into messages of the API, with each hit's record out of the gallery.
// Immutable, hence thread-safe. The gallery must outlive it.
class ResponseWriter {
 public:
  ResponseWriter(const ModelInfo& model, const Gallery* gallery)
      : model_(model), gallery_(gallery) {}

  // The result's target must be the response's kind of item. `want_details`: views FULL, EXPLAIN.
  v1::SearchImagesResponse WriteImages(const SearchResult& result, const CallTimings& timings,
                                       bool want_details) const;
  v1::SearchCaptionsResponse WriteCaptions(const SearchResult& result, const CallTimings& timings,
                                           bool want_details) const;
  v1::ExplainPairResponse WriteExplanation(const PairQuery& query,
                                           const ExplainedPair& pair) const;
  v1::GetInfoResponse WriteInfo(absl::string_view server_version, absl::Time start_time,
                                const SearchLimits& limits) const;

 private:
  const ModelInfo model_;
  const Gallery* const gallery_;
};

}  // namespace dime

#endif  // DIME_SERVER_RESPONSE_WRITER_H_
