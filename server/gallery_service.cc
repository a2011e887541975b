#include "server/gallery_service.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "index/item_filter.h"
#include "index/record_subject.h"
#include "index/status_macros.h"
#include "index/text_lines.h"
#include "server/error_details.h"
#include "server/field_checks.h"
#include "server/item_converter.h"
#include "server/page_token.h"
#include "server/proto_values.h"
#include "server/request_parser.h"

namespace dime {
namespace {

constexpr int kDefaultListPageSize = 100;
// Items that one page of a filtered list looks at, at most, so that it is never slow.
constexpr int64_t kMostScannedItems = 20000;
constexpr int64_t kScanBatch = 500;
constexpr size_t kMaxSnapshotNameBytes = 63;

Modality FromProto(v1::Modality modality) {
  return modality == v1::MODALITY_CAPTION ? Modality::kCaption : Modality::kImage;
}

void CheckModality(v1::Modality modality, Violations& violations) {
  if (modality == v1::MODALITY_IMAGE || modality == v1::MODALITY_CAPTION) return;
  violations.push_back(
      {"modality", v1::ERROR_REASON_VALUE_OUT_OF_RANGE,
       absl::StrCat("must be MODALITY_IMAGE or MODALITY_CAPTION, got ", modality)});
}

absl::Status Verdict(const Violations& violations) {
  return violations.empty() ? absl::OkStatus() : InvalidRequestError(violations);
}

// What a caller is told of an error of the gallery's own in writing.
absl::Status FromGallery(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      return InvalidRequestError(std::vector<FieldViolation>{
          {"", v1::ERROR_REASON_VALUE_OUT_OF_RANGE, std::string(status.message())}});
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kUnavailable:
      return ReasonedError(absl::StatusCode::kUnavailable, v1::ERROR_REASON_STORE_UNWRITABLE,
                           status.message());
    default:
      return status;
  }
}

// Of an upsert's message; empty if it is no id that could be shown.
const std::string& IdOf(const v1::UpsertImagesRequest& request) { return request.image().id(); }
const std::string& IdOf(const v1::UpsertCaptionsRequest& request) { return request.caption().id(); }

absl::StatusOr<std::vector<v1::Item>> ReadItems(const GalleryView& view, Modality modality,
                                                absl::Span<const int64_t> rows,
                                                const ItemFilter& filter) {
  std::vector<v1::Item> items;
  if (modality == Modality::kImage) {
    RETURN_IF_ERROR(view.VisitImages(rows, RecordParts::kAll, [&](const ImageRecord& record) {
      v1::Item& item = items.emplace_back();
      if (filter.Matches(SubjectOf(record))) *item.mutable_image() = ItemConverter::Write(record);
    }));
  } else {
    RETURN_IF_ERROR(view.VisitCaptions(rows, RecordParts::kAll, [&](const CaptionRecord& record) {
      v1::Item& item = items.emplace_back();
      if (filter.Matches(SubjectOf(record))) *item.mutable_caption() = ItemConverter::Write(record);
    }));
  }
  return items;
}

std::string ListDigest(const v1::ListItemsRequest& request, const ItemFilter& filter) {
  return Digest(absl::StrCat(request.modality(), ":", filter.canonical()));
}

// OK, or READ_ONLY.
absl::Status CheckWritable(const ServingRevision& revision) {
  if (revision.mutable_gallery() != nullptr) return absl::OkStatus();
  return ReasonedError(absl::StatusCode::kFailedPrecondition, v1::ERROR_REASON_READ_ONLY,
                       absl::StrCat("gallery ", revision.gallery().Pin()->info().name,
                                    " was built once and is only read; dime_build_gallery "
                                    "--living makes one that can be written to"));
}

bool IsSnapshotName(absl::string_view name) {
  return !name.empty() && name.size() <= kMaxSnapshotNameBytes && absl::ascii_isalnum(name[0]) &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.';
         });
}

}  // namespace

template <typename Request>
grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* GalleryService::StartStream(
    RpcMethod method, Modality modality, grpc::CallbackServerContext* context) {
  // Each item leases what serves when it comes, not the stream, which may last: so that what is
  // acknowledged is found, and no stream keeps alive what was replaced.
  const auto submit = [this, modality](const grpc::ByteBuffer& message, std::string& id,
                                       UpsertStream::Settle settle) -> absl::Status {
    Metrics& metrics = *parts_.call.record.metrics;
    const RevisionSwitch::Lease revision = parts_.revisions->Current();
    const auto take = [&]() -> absl::Status {
      ASSIGN_OR_RETURN(const Request request,
                       ParseRequest<Request>(message, limits_.max_request_bytes));
      if (static_cast<int64_t>(IdOf(request).size()) <= kMaxIdBytes) id = IdOf(request);
      RETURN_IF_ERROR(CheckWritable(*revision));
      ASSIGN_OR_RETURN(auto item, revision->item_converter().Convert(request));
      const auto done = [this, &metrics, modality, settle,
                         gallery = revision->mutable_gallery()](const absl::Status& written) {
        const absl::Status status = written.ok() ? CheckServes(gallery) : FromGallery(written);
        metrics.ItemSettled(modality, status.code());
        settle(status);
      };
      if (revision->ingest()->TrySubmit(std::move(item), done)) return absl::OkStatus();
      return absl::ResourceExhaustedError("the server has more items to write than it takes");
    };
    const absl::Status taken = take();
    if (!taken.ok()) metrics.ItemSettled(modality, taken.code());
    return taken;
  };
  auto record =
      std::make_unique<CallRecord>(parts_.call.record, method, context, grpc::ByteBuffer());
  absl::Status refusal = record->permission();
  if (refusal.ok()) refusal = CheckWritable(*parts_.revisions->Current());
  return UpsertStream::Start(
      parts_.call.ledger, std::move(record), refusal, submit,
      {.window = limits_.max_outstanding_items, .retry_delay = parts_.call.record.retry_delay});
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* GalleryService::UpsertImages(
    grpc::CallbackServerContext* context) {
  return StartStream<v1::UpsertImagesRequest>(RpcMethod::kUpsertImages, Modality::kImage, context);
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* GalleryService::UpsertCaptions(
    grpc::CallbackServerContext* context) {
  return StartStream<v1::UpsertCaptionsRequest>(RpcMethod::kUpsertCaptions, Modality::kCaption,
                                                context);
}

template <typename Request, typename Check, typename Work>
grpc::ServerUnaryReactor* GalleryService::Start(RpcMethod method,
                                                grpc::CallbackServerContext* context,
                                                const grpc::ByteBuffer& request,
                                                grpc::ByteBuffer* response, Check check,
                                                Work work) {
  auto* call = new UnaryCall(parts_.call, method, context, &request, response);
  if (!call->Open()) return call;
  const RevisionSwitch::Lease revision = parts_.revisions->Current();
  auto parsed = std::make_shared<Request>();
  absl::Status status = ParseMessage(request, limits_.max_request_bytes, *parsed);
  if (status.ok()) status = check(*revision, *parsed);
  if (call->Admit(status)) {
    call->Schedule([call, revision, parsed, work] {
      if (absl::Status wanted = call->context().Check(); !wanted.ok()) return call->End(wanted);
      call->Answer(work(*revision, *parsed, call->context()));
    });
  }
  return call;
}

absl::Status GalleryService::CheckServes(const MutableGallery* gallery) const {
  const RevisionSwitch::Lease now = parts_.revisions->Current();
  if (now == nullptr || now->mutable_gallery() == gallery) return absl::OkStatus();
  return absl::UnavailableError("the gallery was replaced during the write; send it again");
}

grpc::ServerUnaryReactor* GalleryService::DeleteItems(grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer* request,
                                                      grpc::ByteBuffer* response) {
  return Start<v1::DeleteItemsRequest>(
      RpcMethod::kDeleteItems, context, *request, response,
      [this](const ServingRevision& revision, const v1::DeleteItemsRequest& given) -> absl::Status {
        RETURN_IF_ERROR(CheckWritable(revision));
        Violations violations;
        CheckModality(given.modality(), violations);
        CheckCount("ids", given.ids_size(), 1, limits_.max_delete_ids, violations);
        return Verdict(violations);
      },
      [this](const ServingRevision& revision, const v1::DeleteItemsRequest& given,
             const CallContext&) { return Delete(revision, given); });
}

absl::StatusOr<v1::DeleteItemsResponse> GalleryService::Delete(
    const ServingRevision& revision, const v1::DeleteItemsRequest& request) const {
  const Modality modality = FromProto(request.modality());
  const std::vector<std::string> ids(request.ids().begin(), request.ids().end());
  const absl::StatusOr<std::vector<absl::Status>> deleted =
      revision.mutable_gallery()->Delete(modality, ids);
  if (!deleted.ok()) return FromGallery(deleted.status());
  RETURN_IF_ERROR(CheckServes(revision.mutable_gallery()));
  v1::DeleteItemsResponse response;
  for (size_t i = 0; i < deleted->size(); ++i) {
    const absl::Status& status = (*deleted)[i];
    *response.add_outcomes() = ToOutcome(
        absl::IsNotFound(status) ? ItemNotFoundError(modality, ids[i]) : FromGallery(status),
        parts_.call.record.retry_delay);
  }
  parts_.call.record.metrics->ItemsDeleted(
      modality, std::count(deleted->begin(), deleted->end(), absl::OkStatus()));
  return response;
}

grpc::ServerUnaryReactor* GalleryService::GetItem(grpc::CallbackServerContext* context,
                                                  const grpc::ByteBuffer* request,
                                                  grpc::ByteBuffer* response) {
  return Start<v1::GetItemRequest>(
      RpcMethod::kGetItem, context, *request, response,
      [](const ServingRevision&, const v1::GetItemRequest& given) -> absl::Status {
        Violations violations;
        CheckModality(given.modality(), violations);
        CheckId("id", given.id(), violations);
        return Verdict(violations);
      },
      [](const ServingRevision& revision, const v1::GetItemRequest& given, const CallContext&) {
        return Get(revision, given);
      });
}

absl::StatusOr<v1::Item> GalleryService::Get(const ServingRevision& revision,
                                             const v1::GetItemRequest& request) {
  const Modality modality = FromProto(request.modality());
  const std::shared_ptr<const GalleryView> view = revision.gallery().Pin();
  const absl::StatusOr<int64_t> row = view->FindRow(modality, request.id());
  if (absl::IsNotFound(row.status())) return ItemNotFoundError(modality, request.id());
  RETURN_IF_ERROR(row.status());
  ASSIGN_OR_RETURN(std::vector<v1::Item> items,
                   ReadItems(*view, modality, absl::MakeConstSpan(&*row, 1), ItemFilter()));
  return std::move(items.front());
}

grpc::ServerUnaryReactor* GalleryService::ListItems(grpc::CallbackServerContext* context,
                                                    const grpc::ByteBuffer* request,
                                                    grpc::ByteBuffer* response) {
  return Start<v1::ListItemsRequest>(
      RpcMethod::kListItems, context, *request, response,
      [](const ServingRevision&, const v1::ListItemsRequest& given) -> absl::Status {
        Violations violations;
        CheckModality(given.modality(), violations);
        if (given.page_size() < 0) {
          violations.push_back({"page_size", v1::ERROR_REASON_VALUE_OUT_OF_RANGE,
                                absl::StrCat("must not be negative, got ", given.page_size())});
        }
        const absl::StatusOr<ItemFilter> filter = ItemFilter::Parse(given.filter());
        if (!filter.ok()) {
          violations.push_back(
              {"filter", v1::ERROR_REASON_FILTER_SYNTAX, std::string(filter.status().message())});
        }
        if (filter.ok() && !given.page_token().empty()) {
          const std::optional<ListPageToken> token = ListPageToken::Decode(given.page_token());
          if (!token.has_value() || token->request_digest != ListDigest(given, *filter)) {
            violations.push_back(
                {"page_token", v1::ERROR_REASON_PAGE_TOKEN_INVALID,
                 token.has_value()
                     ? "belongs to a list with other fields; all but page_size must be as they "
                       "were"
                     : "must be the next_page_token of a list, whole and unchanged"});
          }
        }
        return Verdict(violations);
      },
      [this](const ServingRevision& revision, const v1::ListItemsRequest& given,
             const CallContext& call) { return List(revision, given, call); });
}

absl::StatusOr<v1::ListItemsResponse> GalleryService::List(const ServingRevision& revision,
                                                           const v1::ListItemsRequest& request,
                                                           const CallContext& context) const {
  const Modality modality = FromProto(request.modality());
  ASSIGN_OR_RETURN(const ItemFilter filter, ItemFilter::Parse(request.filter()));
  const int page_size = request.page_size() == 0
                            ? std::min(kDefaultListPageSize, limits_.max_list_page_size)
                            : std::min<int>(request.page_size(), limits_.max_list_page_size);
  std::string after;
  if (!request.page_token().empty()) after = ListPageToken::Decode(request.page_token())->after_id;

  const std::shared_ptr<const GalleryView> view = revision.gallery().Pin();
  v1::ListItemsResponse response;
  response.set_gallery_version(view->info().version);
  bool more = true;
  for (int64_t scanned = 0;
       more && response.items_size() < page_size && scanned < kMostScannedItems;) {
    RETURN_IF_ERROR(context.Check());
    const int64_t batch =
        filter.matches_everything() ? page_size - response.items_size() : kScanBatch;
    // One further id tells whether there is anything behind the batch.
    ASSIGN_OR_RETURN(std::vector<std::string> ids, view->ListIds(modality, after, batch + 1));
    more = static_cast<int64_t>(ids.size()) > batch;
    if (more) ids.pop_back();
    std::vector<int64_t> rows;
    for (const std::string& id : ids) {
      ASSIGN_OR_RETURN(const int64_t row, view->FindRow(modality, id));
      rows.push_back(row);
    }
    ASSIGN_OR_RETURN(std::vector<v1::Item> items, ReadItems(*view, modality, rows, filter));
    for (size_t i = 0; i < ids.size(); ++i) {
      after = ids[i];
      ++scanned;
      if (items[i].item_case() == v1::Item::ITEM_NOT_SET) continue;
      *response.add_items() = std::move(items[i]);
      if (response.items_size() == page_size) {
        more = more || i + 1 < ids.size();
        break;
      }
    }
  }
  if (more) {
    response.set_next_page_token(
        ListPageToken{.after_id = after, .request_digest = ListDigest(request, filter)}.Encode());
  }
  return response;
}

grpc::ServerUnaryReactor* GalleryService::GetStats(grpc::CallbackServerContext* context,
                                                   const grpc::ByteBuffer* request,
                                                   grpc::ByteBuffer* response) {
  return Start<v1::GetStatsRequest>(
      RpcMethod::kGetStats, context, *request, response,
      [](const ServingRevision&, const v1::GetStatsRequest&) { return absl::OkStatus(); },
      [](const ServingRevision& revision, const v1::GetStatsRequest&, const CallContext&) {
        return Stats(revision);
      });
}

absl::StatusOr<v1::GetStatsResponse> GalleryService::Stats(const ServingRevision& revision) {
  const std::shared_ptr<const GalleryView> view = revision.gallery().Pin();
  GalleryStats stats;
  for (const Modality modality : {Modality::kImage, Modality::kCaption}) {
    stats.sides[static_cast<int>(modality)].items = view->size(modality);
  }
  if (revision.mutable_gallery() != nullptr) {
    ASSIGN_OR_RETURN(stats, revision.mutable_gallery()->Stats());
  }
  v1::GetStatsResponse response;
  response.set_gallery_version(view->info().version);
  for (const Modality modality : {Modality::kImage, Modality::kCaption}) {
    const GalleryStats::Side& side = stats.sides[static_cast<int>(modality)];
    v1::ModalityStats& added = *response.add_modalities();
    added.set_modality(modality == Modality::kImage ? v1::MODALITY_IMAGE : v1::MODALITY_CAPTION);
    added.set_item_count(side.items);
    added.set_tail_count(side.tail);
    added.set_tombstone_count(side.tombstones);
  }
  response.set_disk_bytes(stats.bytes_on_disk);
  response.set_sequence(stats.sequence);
  if (stats.last_merge != absl::InfinitePast()) {
    *response.mutable_last_merge_time() = ToProtoTimestamp(stats.last_merge);
  }
  return response;
}

grpc::ServerUnaryReactor* GalleryService::CreateSnapshot(grpc::CallbackServerContext* context,
                                                         const grpc::ByteBuffer* request,
                                                         grpc::ByteBuffer* response) {
  return Start<v1::CreateSnapshotRequest>(
      RpcMethod::kCreateSnapshot, context, *request, response,
      [this](const ServingRevision& revision,
             const v1::CreateSnapshotRequest& given) -> absl::Status {
        RETURN_IF_ERROR(CheckWritable(revision));
        if (parts_.snapshot_directory.empty()) {
          return ReasonedError(absl::StatusCode::kFailedPrecondition,
                               v1::ERROR_REASON_SNAPSHOTS_DISABLED,
                               "the server was started without --snapshot-dir");
        }
        if (given.name().empty() || IsSnapshotName(given.name())) return absl::OkStatus();
        return InvalidRequestError(std::vector<FieldViolation>{
            {"name", v1::ERROR_REASON_VALUE_OUT_OF_RANGE,
             absl::StrCat("must be 1 to ", kMaxSnapshotNameBytes,
                          " letters, digits, \"-\", \"_\" and \".\", the first a letter or digit; "
                          "got ",
                          Quoted(given.name()))}});
      },
      [this](const ServingRevision& revision, const v1::CreateSnapshotRequest& given,
             const CallContext&) { return Snapshot(revision, given); });
}

absl::StatusOr<v1::CreateSnapshotResponse> GalleryService::Snapshot(
    const ServingRevision& revision, const v1::CreateSnapshotRequest& request) const {
  const std::string name =
      !request.name().empty()
          ? request.name()
          : absl::FormatTime("%Y%m%dT%H%M%E3SZ", absl::Now(), absl::UTCTimeZone());
  const std::string path = absl::StrCat(parts_.snapshot_directory, "/", name);
  // Not two of one name at a time, who would be in each other's way.
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!snapshots_.insert(name).second) {
      return ReasonedError(absl::StatusCode::kAlreadyExists, v1::ERROR_REASON_SNAPSHOT_EXISTS,
                           absl::StrCat("a snapshot ", name, " is being made"));
    }
  }
  const absl::Cleanup made = [this, &name] {
    std::lock_guard<std::mutex> lock(mutex_);
    snapshots_.erase(name);
  };
  // Before the copy: what it holds is at least this.
  const std::string version = revision.gallery().Pin()->info().version;
  const absl::Status created = revision.mutable_gallery()->CreateSnapshot(path);
  if (absl::IsAlreadyExists(created)) {
    return ReasonedError(absl::StatusCode::kAlreadyExists, v1::ERROR_REASON_SNAPSHOT_EXISTS,
                         absl::StrCat("there is a snapshot ", name, " already"));
  }
  if (!created.ok()) return FromGallery(created);
  parts_.call.record.metrics->SnapshotCreated(absl::Now());
  v1::CreateSnapshotResponse response;
  response.set_name(name);
  response.set_path(path);
  response.set_gallery_version(version);
  return response;
}

}  // namespace dime
