#include "client/gallery_commands.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/client_error.h"
#include "client/float16_features.h"
#include "client/gallery_client.h"
#include "client/item_source.h"
#include "client/item_upserter.h"
#include "client/message_json.h"
#include "client/proto_time.h"
#include "client/snapshot_copy.h"
#include "client/text_table.h"
#include "client/upsert_journal.h"
#include "google/protobuf/util/json_util.h"
#include "index/mapped_file.h"
#include "index/progress_bar.h"
#include "index/status_macros.h"
#include "index/text_lines.h"
#include "nlohmann/json.hpp"

namespace dime {
namespace {

constexpr char kUpsertImagesFooter[] =
    R"(FILE is bottom-up-attention's TSV (.tsv), or has a JSON object a line (.jsonl): the
fields of Image in gallery.proto, beside them "features" (as RegionFeatures), or "npy",
a file of features, and its "row".

An interrupted upsert goes on where it was when it is started again: a journal beside
the input, which is removed when all is written, says what the server has acknowledged.

Examples:
  dime upsert-images --data f30k_precomp --split test --payload '{"set": "f30k"}'
  dime upsert-images features.tsv

For --address, --json and exit codes see dime --help.)";

constexpr char kUpsertCaptionsFooter[] =
    R"(FILE has the columns id, text and image id parted by tabs (.tsv), or a JSON object a
line (.jsonl): the fields of Caption in gallery.proto.

An interrupted upsert goes on where it was, see dime upsert-images --help.

Examples:
  dime upsert-captions --data f30k_precomp --split test
  dime upsert-captions captions.tsv

For --address, --json and exit codes see dime --help.)";

constexpr char kListFooter[] = R"(Examples:
  dime list images --filter 'color = "red" AND size > 3'
  dime list captions --all --json

For --address, --deadline, --json and exit codes see dime --help.)";

constexpr char kRestoreFooter[] =
    R"(Copies on this machine; serve the copy with dime_server --gallery DIRECTORY.

Example:
  dime restore /snapshots/20260131T120000.123Z /galleries/restored)";

constexpr int kShownFailures = 20;
// CreateSnapshot copies a gallery; the usual deadline is meant for searches.
constexpr absl::Duration kSnapshotDeadline = absl::Minutes(10);

v1::Modality ToModality(const std::string& kind) {
  return absl::StartsWith(kind, "image") ? v1::MODALITY_IMAGE : v1::MODALITY_CAPTION;
}

const CLI::IsMember& Kinds() {
  static const auto& kinds = *new CLI::IsMember({"image", "images", "caption", "captions"});
  return kinds;
}

std::string ReasonText(const v1::Outcome& outcome) {
  return std::string(absl::StripPrefix(v1::ErrorReason_Name(outcome.reason()), "ERROR_REASON_"));
}

// What differs between the two kinds of items.
absl::StatusOr<std::unique_ptr<ImageSource>> OpenFile(const std::string& path,
                                                      const v1::UpsertImagesRequest*) {
  return OpenImageFile(path);
}
absl::StatusOr<std::unique_ptr<CaptionSource>> OpenFile(const std::string& path,
                                                        const v1::UpsertCaptionsRequest*) {
  return OpenCaptionFile(path);
}
absl::StatusOr<std::unique_ptr<ImageSource>> OpenDataset(const std::string& directory,
                                                         const std::string& split,
                                                         const v1::UpsertImagesRequest*) {
  return OpenDatasetImages(directory, split);
}
absl::StatusOr<std::unique_ptr<CaptionSource>> OpenDataset(const std::string& directory,
                                                           const std::string& split,
                                                           const v1::UpsertCaptionsRequest*) {
  return OpenDatasetCaptions(directory, split);
}
const char* KindOf(const v1::UpsertImagesRequest*) { return "images"; }
const char* KindOf(const v1::UpsertCaptionsRequest*) { return "captions"; }
absl::Status RoundFeatures(v1::UpsertImagesRequest& request) {
  const absl::Status status = RoundToFloat16(*request.mutable_features());
  if (status.ok()) return status;
  return absl::InvalidArgumentError(
      absl::StrCat("image ", Printable(request.image().id()), ": ", status.message()));
}
absl::Status RoundFeatures(v1::UpsertCaptionsRequest&) { return absl::OkStatus(); }
google::protobuf::Struct* PayloadOf(v1::UpsertImagesRequest& request) {
  return request.mutable_image()->mutable_payload();
}
google::protobuf::Struct* PayloadOf(v1::UpsertCaptionsRequest& request) {
  return request.mutable_caption()->mutable_payload();
}

std::string ItemText(const v1::Item& item) {
  std::string text;
  const auto line = [&text](absl::string_view name, absl::string_view value) {
    if (!value.empty()) absl::StrAppendFormat(&text, "%-12s %s\n", name, Printable(value));
  };
  const auto common = [&line](const auto& record) {
    line("uri", record.uri());
    line("payload", PayloadText(record.payload()));
    if (record.has_create_time()) line("create_time", TimeText(record.create_time()));
    if (record.has_update_time()) line("update_time", TimeText(record.update_time()));
  };
  if (item.has_image()) {
    const v1::Image& image = item.image();
    line("image", image.id());
    if (image.width() > 0) line("pixels", absl::StrCat(image.width(), "x", image.height()));
    if (image.boxes_size() > 0) line("boxes", absl::StrCat(image.boxes_size()));
    common(image);
  } else {
    const v1::Caption& caption = item.caption();
    line("caption", caption.id());
    line("text", caption.text());
    line("image_id", caption.image_id());
    common(caption);
  }
  return text;
}

}  // namespace

struct GalleryCommands::Flags {
  // Of both upserts.
  std::string file;
  std::string data;
  std::string split = "test";
  std::string payload;
  std::string journal;
  std::string patience = "2m";
  bool float16 = false;
  bool quiet = false;
  // delete, get, list.
  std::string kind;
  std::vector<std::string> ids;
  std::string ids_file;
  std::string id;
  std::string filter;
  int page_size = 0;
  std::string page_token;
  bool all = false;
  // snapshot and restore.
  std::string name;
  std::string from;
  std::string to;
};

GalleryCommands::GalleryCommands(CLI::App* app) : flags_(std::make_unique<Flags>()) {
  Flags* flags = flags_.get();
  const auto add_upsert = [app, flags](const char* name, const char* description,
                                       const char* footer) {
    CLI::App* command = app->add_subcommand(name, description);
    command->footer(footer);
    CLI::Option* file =
        command->add_option("file", flags->file, "A file of items; its form goes by its name")
            ->type_name("FILE");
    CLI::Option* data =
        command->add_option("--data", flags->data, "Or a directory in the precomputed layout")
            ->type_name("DIR")
            ->excludes(file);
    command->add_option("--split", flags->split, "Which split of it")
        ->type_name("NAME")
        ->needs(data)
        ->capture_default_str();
    command
        ->add_option("--payload", flags->payload,
                     "Fields for all payloads, a JSON object; an item's own win")
        ->type_name("JSON");
    command
        ->add_option("--journal", flags->journal,
                     "Where to note what is written (default: beside the input)")
        ->type_name("FILE");
    command
        ->add_option("--patience", flags->patience,
                     "Give up after so long without a result, as while it restarts")
        ->type_name("TIME")
        ->capture_default_str();
    command->add_flag("--quiet", flags->quiet, "Show no progress");
    return command;
  };
  upsert_images_ = add_upsert("upsert-images", "Write images to the gallery, or write them anew",
                              kUpsertImagesFooter);
  upsert_images_->add_flag("--float16", flags->float16,
                           "Send features rounded to float16, in half the bytes");
  upsert_captions_ =
      add_upsert("upsert-captions", "Write captions to the gallery, or write them anew",
                 kUpsertCaptionsFooter);

  const auto add_kind = [flags](CLI::App* command) {
    command->add_option("kind", flags->kind, "images or captions")
        ->type_name("KIND")
        ->required()
        ->check(Kinds());
  };
  delete_ = app->add_subcommand("delete", "Delete items from the gallery");
  add_kind(delete_);
  delete_->add_option("id", flags->ids, "Their ids")->type_name("ID...");
  delete_->add_option("--ids-file", flags->ids_file, "And those in this file, one a line")
      ->type_name("FILE");

  get_ = app->add_subcommand("get", "Show an item of the gallery");
  add_kind(get_);
  get_->add_option("id", flags->id, "Its id")->type_name("ID")->required();

  list_ = app->add_subcommand("list", "List items of the gallery, by id");
  list_->footer(kListFooter);
  add_kind(list_);
  list_->add_option("--filter", flags->filter, "Those that match alone, see search-images --help")
      ->type_name("FILTER");
  list_->add_option("--page-size", flags->page_size, "Items of a page (default: the server's)")
      ->type_name("N");
  CLI::Option* token =
      list_->add_option("--page-token", flags->page_token, "The next page of an earlier list")
          ->type_name("TOKEN");
  list_->add_flag("--all", flags->all, "All pages, one after another")->excludes(token);

  stats_ = app->add_subcommand("stats", "Show the gallery's counts and sizes");

  snapshot_ = app->add_subcommand("snapshot", "Have the server write a snapshot of the gallery");
  snapshot_->add_option("name", flags->name, "Its name (default: the time)")->type_name("NAME");

  restore_ = app->add_subcommand("restore", "Make a gallery out of a snapshot, on this machine");
  restore_->footer(kRestoreFooter);
  restore_->add_option("snapshot", flags->from, "The snapshot's directory")
      ->type_name("SNAPSHOT")
      ->required();
  restore_->add_option("directory", flags->to, "Where the gallery is to be")
      ->type_name("DIRECTORY")
      ->required();
}

GalleryCommands::~GalleryCommands() = default;

bool GalleryCommands::parsed() const {
  for (const CLI::App* command :
       {upsert_images_, upsert_captions_, delete_, get_, list_, stats_, snapshot_, restore_}) {
    if (command->parsed()) return true;
  }
  return false;
}

std::string GalleryCommands::UsageError() const {
  if ((upsert_images_->parsed() || upsert_captions_->parsed()) && flags_->file.empty() &&
      flags_->data.empty()) {
    return "one of FILE and --data DIR is needed";
  }
  absl::Duration patience;
  if (!absl::ParseDuration(flags_->patience, &patience) || !(patience > absl::ZeroDuration())) {
    return absl::StrCat("--patience: '", flags_->patience,
                        "' is no time longer than zero; write 30s or 2m");
  }
  if (delete_->parsed() && flags_->ids.empty() && flags_->ids_file.empty()) {
    return "an ID or --ids-file FILE is needed";
  }
  return "";
}

absl::StatusOr<std::string> GalleryCommands::Run(const RetrievalClient& client,
                                                 const CommandOutput& output, bool& failed) const {
  if (upsert_images_->parsed()) return Upsert<v1::UpsertImagesRequest>(client, output, failed);
  if (upsert_captions_->parsed()) return Upsert<v1::UpsertCaptionsRequest>(client, output, failed);
  if (delete_->parsed()) return Delete(client, output, failed);
  if (get_->parsed()) return Get(client, output);
  if (list_->parsed()) return List(client, output);
  if (stats_->parsed()) return Stats(client, output);
  if (snapshot_->parsed()) return Snapshot(client, output);
  return Restore(output);
}

template <typename Request>
absl::StatusOr<std::string> GalleryCommands::Upsert(const RetrievalClient& client,
                                                    const CommandOutput& output,
                                                    bool& failed) const {
  const Request* const kind = nullptr;
  const bool from_data = !flags_->data.empty();
  google::protobuf::Struct payload;
  if (!flags_->payload.empty() &&
      !google::protobuf::util::JsonStringToMessage(flags_->payload, &payload).ok()) {
    return absl::InvalidArgumentError("--payload is no JSON object");
  }
  ASSIGN_OR_RETURN(const v1::GetInfoResponse info, client.GetInfo());
  ASSIGN_OR_RETURN(const auto source, from_data ? OpenDataset(flags_->data, flags_->split, kind)
                                                : OpenFile(flags_->file, kind));
  const std::string input =
      from_data ? absl::StrCat(flags_->data, "/", flags_->split) : flags_->file;
  ASSIGN_OR_RETURN(std::string state,
                   UpsertJournal::StateOf(from_data ? std::vector<std::string>{input + "_ims.npy"}
                                                    : std::vector<std::string>{flags_->file}));
  const std::string path = !flags_->journal.empty()
                               ? flags_->journal
                               : absl::StrCat(input, ".", KindOf(kind), ".dime-journal");
  ASSIGN_OR_RETURN(const std::unique_ptr<UpsertJournal> journal,
                   UpsertJournal::Open(
                       path,
                       {.kind = KindOf(kind),
                        .input = input,
                        .state = absl::StrCat(state, flags_->float16 ? " float16" : "",
                                              flags_->payload.empty() ? "" : " ", flags_->payload),
                        .gallery = info.gallery().lineage()},
                       source->size()));
  const int64_t skipped = journal->done_count();

  std::optional<ProgressBar> bar;
  if (!flags_->quiet && !output.json) {
    bar.emplace(absl::StrCat("writing ", KindOf(kind)), source->size() - skipped);
  }
  int64_t written = 0, refused = 0;
  int64_t next = 0;
  const absl::Time start = absl::Now();
  const auto take = [&]() -> absl::StatusOr<std::optional<ItemUpserter::Numbered<Request>>> {
    for (; next < source->size() && journal->IsDone(next); ++next) {
      RETURN_IF_ERROR(source->Skip());
    }
    if (next == source->size()) return std::nullopt;
    ASSIGN_OR_RETURN(Request request, source->Next());
    // An item's own fields stay.
    for (const auto& [name, value] : payload.fields()) {
      PayloadOf(request)->mutable_fields()->insert({name, value});
    }
    if (flags_->float16) RETURN_IF_ERROR(RoundFeatures(request));
    return ItemUpserter::Numbered<Request>{next++, std::move(request)};
  };
  const auto settled = [&](int64_t number, const std::string& id,
                           const v1::Outcome& outcome) -> absl::Status {
    if (bar.has_value()) bar->Advance();
    if (outcome.code() == 0) {
      ++written;
      return journal->MarkDone(number);
    }
    if (++refused <= kShownFailures) {
      output.err << "error: " << (id.empty() ? absl::StrCat("item ", number + 1) : Printable(id))
                 << ": " << Printable(outcome.message()) << " [" << ReasonText(outcome) << "]\n";
    }
    return absl::OkStatus();
  };
  absl::Duration patience;
  absl::ParseDuration(flags_->patience, &patience);
  const GalleryClient gallery(&client);
  const ItemUpserter upserter(
      &gallery, {.patience = patience, .max_request_bytes = info.limits().max_request_bytes()});
  const absl::Status status = upserter.Upsert(take, settled);
  if (!status.ok()) {
    bar.reset();
    if (journal->done_count() > 0) {
      output.err << "written so far: " << journal->done_count() << " of " << source->size()
                 << "; the same command goes on from there\n";
    } else {
      // Nothing to go on from.
      RETURN_IF_ERROR(journal->Remove());
    }
    return status;
  }
  if (bar.has_value()) bar->Finish();
  failed = refused > 0;
  if (failed) {
    if (refused > kShownFailures) {
      output.err << "and " << refused - kShownFailures << " more\n";
    }
  } else {
    RETURN_IF_ERROR(journal->Remove());
  }
  if (output.json) {
    const nlohmann::ordered_json json = {
        {"written", written}, {"already_written", skipped}, {"failed", refused}};
    return json.dump(2) + "\n";
  }
  std::string text = absl::StrFormat("wrote %d %s in %.1f s", written, KindOf(kind),
                                     absl::ToDoubleSeconds(absl::Now() - start));
  if (skipped > 0) absl::StrAppend(&text, "; ", skipped, " were written before");
  if (refused > 0) {
    absl::StrAppend(&text, "; ", refused, " failed, which the same command tries again");
  }
  return text + "\n";
}

absl::StatusOr<std::string> GalleryCommands::Delete(const RetrievalClient& client,
                                                    const CommandOutput& output,
                                                    bool& failed) const {
  std::vector<std::string> ids = flags_->ids;
  if (!flags_->ids_file.empty()) {
    ASSIGN_OR_RETURN(const std::unique_ptr<MappedFile> file, MappedFile::Open(flags_->ids_file));
    for (const absl::string_view line :
         SplitLines({reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size()})) {
      if (!line.empty()) ids.emplace_back(line);
    }
  }
  ASSIGN_OR_RETURN(const v1::GetInfoResponse info, client.GetInfo());
  const int64_t most_ids = std::max(1, info.limits().max_delete_ids());
  const int64_t most_bytes = info.limits().max_request_bytes() / 2;
  const GalleryClient gallery(&client);
  int64_t deleted = 0, missing = 0, refused = 0;
  for (size_t first = 0; first < ids.size();) {
    v1::DeleteItemsRequest request;
    request.set_modality(ToModality(flags_->kind));
    size_t end = first;
    for (int64_t bytes = 0; end < ids.size() && static_cast<int64_t>(end - first) < most_ids;
         ++end) {
      bytes += static_cast<int64_t>(ids[end].size()) + 8;
      if (end > first && bytes > most_bytes) break;
      request.add_ids(ids[end]);
    }
    ASSIGN_OR_RETURN(const v1::DeleteItemsResponse response, gallery.DeleteItems(request));
    for (int i = 0; i < response.outcomes_size(); ++i) {
      const v1::Outcome& outcome = response.outcomes(i);
      if (outcome.code() == 0) {
        ++deleted;
        continue;
      }
      ++(outcome.code() == grpc::StatusCode::NOT_FOUND ? missing : refused);
      if (missing + refused <= kShownFailures) {
        output.err << "error: " << Printable(request.ids(i)) << ": " << Printable(outcome.message())
                   << " [" << ReasonText(outcome) << "]\n";
      }
    }
    first = end;
  }
  failed = refused > 0;
  if (output.json) {
    const nlohmann::ordered_json json = {
        {"deleted", deleted}, {"not_found", missing}, {"failed", refused}};
    return json.dump(2) + "\n";
  }
  return absl::StrCat("deleted ", deleted,
                      missing > 0 ? absl::StrCat("; ", missing, " were not there") : "",
                      refused > 0 ? absl::StrCat("; ", refused, " failed") : "", "\n");
}

absl::StatusOr<std::string> GalleryCommands::Get(const RetrievalClient& client,
                                                 const CommandOutput& output) const {
  v1::GetItemRequest request;
  request.set_modality(ToModality(flags_->kind));
  request.set_id(flags_->id);
  ASSIGN_OR_RETURN(const v1::Item item, GalleryClient(&client).GetItem(request));
  return output.json ? ToJson(item) : ItemText(item);
}

absl::StatusOr<std::string> GalleryCommands::List(const RetrievalClient& client,
                                                  const CommandOutput& output) const {
  v1::ListItemsRequest request;
  request.set_modality(ToModality(flags_->kind));
  request.set_filter(flags_->filter);
  request.set_page_size(flags_->page_size);
  request.set_page_token(flags_->page_token);
  const GalleryClient gallery(&client);
  v1::ListItemsResponse whole;
  do {
    ASSIGN_OR_RETURN(v1::ListItemsResponse page, gallery.ListItems(request));
    for (v1::Item& item : *page.mutable_items()) *whole.add_items() = std::move(item);
    whole.set_next_page_token(page.next_page_token());
    whole.set_gallery_version(page.gallery_version());
    request.set_page_token(page.next_page_token());
  } while (flags_->all && !whole.next_page_token().empty());
  if (output.json) return ToJson(whole);

  const bool images = request.modality() == v1::MODALITY_IMAGE;
  TextTable table(
      {{"id"}, {images ? "uri" : "text"}, {"payload", TextTable::Align::kLeft, /*wrap=*/true}});
  for (const v1::Item& item : whole.items()) {
    table.AddRow(
        {TextTable::Cell(images ? item.image().id() : item.caption().id()),
         TextTable::Cell(images ? item.image().uri() : item.caption().text()),
         TextTable::Cell(PayloadText(images ? item.image().payload() : item.caption().payload()),
                         Style::kFaint)});
  }
  std::string text = whole.items().empty() ? "no items\n" : table.Render(output.terminal);
  if (!whole.next_page_token().empty()) {
    absl::StrAppend(&text, "\nmore: --page-token ", Printable(whole.next_page_token()), "\n");
  }
  return text;
}

absl::StatusOr<std::string> GalleryCommands::Stats(const RetrievalClient& client,
                                                   const CommandOutput& output) const {
  ASSIGN_OR_RETURN(const v1::GetStatsResponse stats, GalleryClient(&client).GetStats());
  if (output.json) return ToJson(stats);
  std::string text;
  for (const v1::ModalityStats& side : stats.modalities()) {
    absl::StrAppendFormat(&text, "%-12s %d",
                          side.modality() == v1::MODALITY_IMAGE ? "images" : "captions",
                          side.item_count());
    if (side.tail_count() > 0 || side.tombstone_count() > 0) {
      absl::StrAppend(&text, " (", side.tail_count(), " not in the index yet, ",
                      side.tombstone_count(), " dead ones in it)");
    }
    text += "\n";
  }
  if (stats.disk_bytes() > 0)
    absl::StrAppendFormat(&text, "%-12s %d bytes\n", "on disk", stats.disk_bytes());
  absl::StrAppendFormat(&text, "%-12s %s\n", "version", Printable(stats.gallery_version()));
  if (stats.sequence() > 0) absl::StrAppendFormat(&text, "%-12s %d\n", "writes", stats.sequence());
  if (stats.has_last_merge_time()) {
    absl::StrAppendFormat(&text, "%-12s %s\n", "last merge", TimeText(stats.last_merge_time()));
  }
  return text;
}

absl::StatusOr<std::string> GalleryCommands::Snapshot(const RetrievalClient& client,
                                                      const CommandOutput& output) const {
  v1::CreateSnapshotRequest request;
  request.set_name(flags_->name);
  ASSIGN_OR_RETURN(const v1::CreateSnapshotResponse response,
                   GalleryClient(&client).CreateSnapshot(request, kSnapshotDeadline));
  if (output.json) return ToJson(response);
  return absl::StrCat("wrote ", Printable(response.path()), " on the server's machine\n");
}

absl::StatusOr<std::string> GalleryCommands::Restore(const CommandOutput& output) const {
  std::optional<ProgressBar> bar;
  int64_t done = 0;
  const auto on_bytes = [&](int64_t bytes, int64_t total) {
    if (output.json) return;
    constexpr int64_t kMiB = 1 << 20;
    if (!bar.has_value()) bar.emplace("copying MiB", (total + kMiB - 1) / kMiB);
    done += bytes;
    bar->AdvanceTo(done == total ? (total + kMiB - 1) / kMiB : done / kMiB);
  };
  ASSIGN_OR_RETURN(const SnapshotCopy copy, CopySnapshot(flags_->from, flags_->to, on_bytes));
  if (bar.has_value()) bar->Finish();
  if (output.json) {
    const nlohmann::ordered_json json = {{"files", copy.files}, {"bytes", copy.bytes}};
    return json.dump(2) + "\n";
  }
  return absl::StrCat("restored ", Printable(flags_->to), ": ", copy.files, " files, ", copy.bytes,
                      " bytes\n");
}

}  // namespace dime
