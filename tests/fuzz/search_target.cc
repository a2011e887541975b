#include <string>

#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/slice.h"
#include "server/error_details.h"
#include "server/request_converter.h"
#include "server/request_parser.h"
#include "tests/fakes/fake_gallery.h"
#include "tests/fakes/fake_model.h"
#include "tests/fuzz/fuzz_target.h"

namespace dime {
namespace {

constexpr int64_t kMaxBytes = 1 << 16;

const FakeGallery& Gallery() {
  static const auto& gallery =
      *new FakeGallery({.num_images = 6, .captions = {"a red star", "two dogs"}});
  return gallery;
}

const RequestConverter& Converter() {
  static const auto& converter = *new RequestConverter(SearchLimits(), FakeModel().info());
  return converter;
}

// Whatever is refused is refused as the proto says.
void CheckRefusal(const absl::Status& status) {
  const absl::StatusCode code = status.code();
  FuzzRequire(code == absl::StatusCode::kInvalidArgument || code == absl::StatusCode::kNotFound ||
                  code == absl::StatusCode::kFailedPrecondition,
              "a request is refused by one of the door's codes");
  FuzzRequire(ReasonOf(status) != v1::ERROR_REASON_UNSPECIFIED &&
                  ReasonOf(status) != v1::ERROR_REASON_INTERNAL,
              "a refusal has its reason");
}

void CheckSearch(const SearchRequest& search) {
  const SearchLimits limits;
  const SearchOptions& options = search.options;
  FuzzRequire(options.top_k >= 1 && options.top_k <= limits.max_top_k, "top_k is in its range");
  FuzzRequire(options.exact || (options.rerank_depth >= options.top_k &&
                                options.rerank_depth <= limits.max_rerank_depth),
              "the depth is in its range");
  FuzzRequire(options.min_rerank_depth >= 1 && options.min_rerank_depth <= options.rerank_depth,
              "the least depth is in its range");
  FuzzRequire(options.fusion_weight >= 0 && options.fusion_weight <= 1, "the weight is a share");
  FuzzRequire(!options.group_by.has_value() || options.group_by->size >= 1, "groups have hits");
  if (const auto* features = std::get_if<RegionFeaturesQuery>(&search.query)) {
    FuzzRequire(features->values.size() == size_t{kFakeNumRegions} * kFakeFeatureDim,
                "features have the model's sizes");
  }
}

template <typename Request, typename Check>
void ParseAndConvert(const grpc::ByteBuffer& bytes, const Check& check) {
  const auto parsed = ParseRequest<Request>(bytes, kMaxBytes);
  if (!parsed.ok()) return CheckRefusal(parsed.status());
  const auto converted = Converter().Convert(*parsed, *Gallery().Pin());
  if (!converted.ok()) return CheckRefusal(converted.status());
  check(*converted);
}

// The bytes as a message of each of the searches.
void Run(absl::string_view bytes) {
  const grpc::Slice slice(bytes.data(), bytes.size());
  const grpc::ByteBuffer buffer(&slice, 1);
  ParseAndConvert<v1::SearchImagesRequest>(buffer, CheckSearch);
  ParseAndConvert<v1::SearchCaptionsRequest>(buffer, CheckSearch);
  ParseAndConvert<v1::ExplainPairRequest>(buffer, [](const ExplainRequest&) {});
  const auto batch = ParseRequest<v1::BatchSearchImagesRequest>(buffer, kMaxBytes);
  if (!batch.ok()) CheckRefusal(batch.status());
}

}  // namespace

FuzzTarget SearchTarget() {
  v1::SearchImagesRequest images;
  images.set_text("a red star");
  v1::SearchOptions& options = *images.mutable_options();
  options.set_top_k(5);
  options.set_rerank_depth(50);
  options.set_view(v1::RESULT_VIEW_EXPLAIN);
  options.set_filter("color = \"red\" OR size > 3");
  options.set_group_by("payload.color");
  options.set_group_size(2);
  options.set_min_final_score(-0.5);
  options.set_min_rerank_depth(10);
  options.set_on_rerank_error(v1::ON_RERANK_ERROR_COARSE_ORDER);
  options.set_priority(v1::PRIORITY_BULK);
  v1::SearchCaptionsRequest by_id, by_features;
  by_id.set_image_id("image-1");
  by_id.mutable_options()->set_exact(true);
  by_features.mutable_features()->set_num_regions(kFakeNumRegions);
  by_features.mutable_features()->set_feature_dim(kFakeFeatureDim);
  for (int k = 0; k < kFakeNumRegions * kFakeFeatureDim; ++k) {
    by_features.mutable_features()->add_values(0.5f);
  }
  v1::SearchCaptionsRequest halves;
  halves.mutable_features()->set_num_regions(kFakeNumRegions);
  halves.mutable_features()->set_feature_dim(kFakeFeatureDim);
  halves.mutable_features()->set_float16(
      std::string(2 * kFakeNumRegions * kFakeFeatureDim, '\x3c'));
  v1::BatchSearchImagesRequest batch;
  *batch.add_requests() = images;
  v1::ExplainPairRequest pair;
  pair.set_text("dogs");
  pair.set_image_id("image-2");
  return {.name = "search",
          .seeds = {images.SerializeAsString(), by_id.SerializeAsString(),
                    by_features.SerializeAsString(), halves.SerializeAsString(),
                    batch.SerializeAsString(), pair.SerializeAsString(), ""},
          .run = Run};
}

}  // namespace dime
