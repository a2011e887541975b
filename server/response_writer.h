#ifndef DIME_SERVER_RESPONSE_WRITER_H_
#define DIME_SERVER_RESPONSE_WRITER_H_

#include "absl/status/statusor.h"
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

// What hits carry besides id, score and record.
struct HitFields {
  bool details = false;  // views FULL and EXPLAIN
  bool payload = false;  // payload and times
};

// What a search took, for its response and for those who look after the server.
v1::SearchStats WriteStats(const SearchResult& result, const CallTimings& timings);

// Turns results into messages of the API, with each hit's record out of the view that was searched.
// Immutable, hence thread-safe.
class ResponseWriter {
 public:
  explicit ResponseWriter(const ModelInfo& model) : model_(model) {}

  // The result's target must be the response's kind of item. Errors: those of reading the hits'
  // records.
  absl::StatusOr<v1::SearchImagesResponse> WriteImages(const GalleryView& view,
                                                       const SearchResult& result,
                                                       const CallTimings& timings,
                                                       const HitFields& want) const;
  absl::StatusOr<v1::SearchCaptionsResponse> WriteCaptions(const GalleryView& view,
                                                           const SearchResult& result,
                                                           const CallTimings& timings,
                                                           const HitFields& want) const;
  absl::StatusOr<v1::ExplainPairResponse> WriteExplanation(const GalleryView& view,
                                                           const PairQuery& query,
                                                           const ExplainedPair& pair) const;
  // Without the gallery, which may change: see WriteGallery().
  v1::GetInfoResponse WriteInfo(absl::string_view server_version, absl::Time start_time,
                                const SearchLimits& limits) const;
  v1::GalleryInfo WriteGallery(const GalleryView& view, bool writable) const;

 private:
  const ModelInfo model_;
};

}  // namespace dime

#endif  // DIME_SERVER_RESPONSE_WRITER_H_
