#include "model/batching_scorer.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "model/fair_share.h"

namespace dime {
namespace {

// Of a batch, one part in so many is kept for bulk work that waits.
constexpr int64_t kBulkShare = 8;

// Appends one launch's share of an answer to what earlier launches gave.
void Append(const PairScores& from, PairScores& to) {
  for (int d = 0; d < kNumDirections; ++d) {
    to.scores[d].insert(to.scores[d].end(), from.scores[d].begin(), from.scores[d].end());
    to.paths[d].insert(to.paths[d].end(), from.paths[d].begin(), from.paths[d].end());
  }
}

// Whether an answer has the sizes that its request asked for.
bool Fits(const PairScores& scores, const ScoringRequest& request) {
  for (Direction direction : kDirections) {
    const int d = static_cast<int>(direction);
    const size_t pairs = Uses(request.mode, direction) ? request.rows.size() : 0;
    const size_t weights = request.want_paths ? pairs * kNumPathWeights : 0;
    if (scores.scores[d].size() != pairs || scores.paths[d].size() != weights) return false;
  }
  return true;
}

}  // namespace

struct BatchingScorer::Job {
  const ScoringRequest& request;
  const CallContext& context;
  const absl::Time arrival;
  // Written by the launch's thread alone; read by the caller once `done`.
  PairScores scores;
  absl::Status status;
  // Guarded by the scorer's mutex. Rows [0, taken) are scored or in the launch under way.
  int64_t taken = 0;
  bool in_flight = false;
  bool done = false;
  std::condition_variable finished;

  int64_t rows() const { return static_cast<int64_t>(request.rows.size()); }
  int64_t rows_left() const { return rows() - taken; }
  int64_t cost_left() const { return rows_left() * NumDirections(request.mode); }
  void Complete(absl::Status with) {
    status = std::move(with);
    done = true;
    finished.notify_one();
  }
};

struct BatchingScorer::Chunk {
  Job* job;
  int64_t first;
  int64_t count;
  absl::Status status;  // of its launch

  ScoringRequest Request() const {
    ScoringRequest request = job->request;
    request.rows = request.rows.subspan(first, count);
    return request;
  }
};

BatchingScorer::BatchingScorer(const PairScorer* scorer, Options options)
    : scorer_(scorer),
      options_(std::move(options)),
      turn_pairs_(std::max<int64_t>(1, options_.max_batch_pairs / 4)),
      thread_([this] { Run(); }) {}

BatchingScorer::~BatchingScorer() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  work_arrived_.notify_one();
  thread_.join();
  std::unique_lock<std::mutex> lock(mutex_);
  callers_left_.wait(lock, [this] { return callers_ == 0; });
}

absl::StatusOr<PairScores> BatchingScorer::Score(const ScoringRequest& request,
                                                 const CallContext& context) {
  if (request.rows.empty()) return PairScores();
  if (absl::Status wanted = context.Check(); !wanted.ok()) return wanted;
  Job job{.request = request, .context = context, .arrival = absl::Now()};

  std::unique_lock<std::mutex> lock(mutex_);
  if (stopping_) return absl::UnavailableError("the server is stopping");
  if (queued_pairs_ > 0 && queued_pairs_ + job.rows() > options_.max_queue_pairs) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the reranking queue is full: ", queued_pairs_, " pairs wait, ", job.rows(),
                     " more do not fit into ", options_.max_queue_pairs));
  }
  ++callers_;
  if (scorer_->launches_anywhere() && idle() && !launching() &&
      job.rows() <= options_.max_batch_pairs) {
    LaunchOwn(job, lock);
  } else {
    AwaitLaunch(job, lock);
  }
  if (--callers_ == 0) callers_left_.notify_all();
  if (!job.status.ok()) return job.status;
  return std::move(job.scores);
}

void BatchingScorer::LaunchOwn(Job& job, std::unique_lock<std::mutex>& lock) {
  std::vector<Chunk> batch = {{.job = &job, .first = 0, .count = job.rows()}};
  job.taken = job.rows();
  LaunchBatch(batch, lock);
  // What came meanwhile waits for the batch thread, which was not told while it could do nothing.
  if (!idle()) work_arrived_.notify_one();
}

void BatchingScorer::AwaitLaunch(Job& job, std::unique_lock<std::mutex>& lock) {
  const CallContext& context = job.context;
  QueueOf(context.priority()).push_back(&job);
  queued_pairs_ += job.rows();
  if (!launching()) work_arrived_.notify_one();

  const auto done = [&job] { return job.done; };
  if (context.deadline() == absl::InfiniteFuture()) {
    job.finished.wait(lock, done);
  } else if (!job.finished.wait_until(lock, absl::ToChronoTime(context.deadline()), done)) {
    if (job.in_flight) {
      // The launch still reads the request. What of it is left is dropped before the next one.
      job.finished.wait(lock, done);
    } else {
      Remove(job);
      job.status = absl::DeadlineExceededError("the call's deadline passed in the reranking queue");
    }
  }
}

int64_t BatchingScorer::queued_pairs() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return queued_pairs_;
}

absl::Duration BatchingScorer::oldest_wait() const {
  std::lock_guard<std::mutex> lock(mutex_);
  if (idle()) return absl::ZeroDuration();
  absl::Time oldest = absl::InfiniteFuture();
  for (const Queue& queue : queues_) {
    for (const Job* job : queue) oldest = std::min(oldest, job->arrival);
  }
  return std::max(absl::ZeroDuration(), absl::Now() - oldest);
}

absl::Duration BatchingScorer::launch_age() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return std::max(absl::ZeroDuration(), absl::Now() - launch_start_);
}

double BatchingScorer::cost_per_second() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return rate_.per_second();
}

int64_t BatchingScorer::PairsWithin(ScoreMode mode, Priority priority, absl::Duration time) const {
  std::lock_guard<std::mutex> lock(mutex_);
  const double rate = rate_.per_second();
  if (rate <= 0 || time == absl::InfiniteDuration()) return std::numeric_limits<int64_t>::max();
  double cost = rate * absl::ToDoubleSeconds(time);
  if (launched_cost_ > 0) {
    const double done = rate * absl::ToDoubleSeconds(absl::Now() - launch_start_);
    cost -= std::max(0.0, static_cast<double>(launched_cost_) - done);
  }
  std::vector<int64_t> sharers;
  for (const Job* job : queues_[static_cast<int>(priority)]) sharers.push_back(job->cost_left());
  if (priority == Priority::kBulk) {
    for (const Job* job : queues_[static_cast<int>(Priority::kInteractive)]) {
      cost -= static_cast<double>(job->cost_left());
    }
  }
  return LargestDoneWithin(std::move(sharers), cost) / NumDirections(mode);
}

void BatchingScorer::Run() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    work_arrived_.wait(lock, [this] { return stopping_ || (!idle() && !launching()); });
    if (stopping_) break;
    DropUnwantedJobs();
    std::vector<Chunk> batch = TakeBatch();
    if (!batch.empty()) LaunchBatch(batch, lock);
  }
  for (Queue& queue : queues_) {
    for (Job* job : queue) job->Complete(absl::UnavailableError("the server is stopping"));
    queue.clear();
  }
  queued_pairs_ = 0;
}

void BatchingScorer::LaunchBatch(std::vector<Chunk>& batch, std::unique_lock<std::mutex>& lock) {
  launch_start_ = absl::Now();
  for (const Chunk& chunk : batch) {
    launched_cost_ += chunk.count * NumDirections(chunk.job->request.mode);
  }
  lock.unlock();
  const absl::Duration took = ScoreBatch(batch);
  lock.lock();
  rate_.Add(launched_cost_, took);
  launched_cost_ = 0;
  launch_start_ = absl::InfiniteFuture();
  SettleBatch(batch);
}

void BatchingScorer::DropUnwantedJobs() {
  for (Queue& queue : queues_) {
    std::erase_if(queue, [this](Job* job) {
      absl::Status wanted = job->context.Check();
      if (wanted.ok()) return false;
      queued_pairs_ -= job->rows_left();
      job->Complete(std::move(wanted));
      return true;
    });
  }
}

std::vector<BatchingScorer::Chunk> BatchingScorer::TakeBatch() {
  std::vector<Chunk> batch;
  const int64_t space = options_.max_batch_pairs;
  // However much else there is, what can wait gets on too.
  const int64_t kept = QueueOf(Priority::kBulk).empty() ? 0 : space / kBulkShare;
  const int64_t left = TakeFrom(QueueOf(Priority::kInteractive), space - kept, batch);
  const int64_t rest = TakeFrom(QueueOf(Priority::kBulk), left + kept, batch);
  // What bulk work did not need after all.
  TakeFrom(QueueOf(Priority::kInteractive), rest, batch);
  return batch;
}

int64_t BatchingScorer::TakeFrom(Queue& queue, int64_t space, std::vector<Chunk>& batch) {
  while (space > 0 && !queue.empty()) {
    Job* const job = queue.front();
    const int64_t turn = std::min(job->rows_left(), turn_pairs_);
    const int64_t count = std::min(turn, space);
    const auto earlier = std::find_if(batch.begin(), batch.end(),
                                      [job](const Chunk& chunk) { return chunk.job == job; });
    if (earlier != batch.end()) {
      earlier->count += count;  // contiguous: a job's rows are taken in order
    } else {
      batch.push_back({.job = job, .first = job->taken, .count = count});
    }
    job->taken += count;
    job->in_flight = true;
    space -= count;
    queued_pairs_ -= count;
    if (count < turn) break;  // the batch is full, and this job's turn goes on in the next
    queue.pop_front();
    if (job->rows_left() > 0) queue.push_back(job);
  }
  return space;
}

absl::Duration BatchingScorer::ScoreBatch(std::vector<Chunk>& batch) const {
  const absl::Time start = absl::Now();
  BatchStats stats;
  stats.requests = static_cast<int>(batch.size());
  for (const Chunk& chunk : batch) {
    stats.pairs += chunk.count;
    stats.queued = std::max(stats.queued, start - chunk.job->arrival);
  }
  const absl::Status status = Launch(absl::MakeSpan(batch));
  stats.scoring = absl::Now() - start;
  if (options_.on_batch) options_.on_batch(stats);
  if (status.ok()) return stats.scoring;
  if (batch.size() == 1) {
    batch.front().status = status;
  } else {
    Bisect(absl::MakeSpan(batch));
  }
  return absl::ZeroDuration();
}

void BatchingScorer::Bisect(absl::Span<Chunk> chunks) const {
  const size_t middle = chunks.size() / 2;
  for (absl::Span<Chunk> half : {chunks.first(middle), chunks.subspan(middle)}) {
    if (half.size() == 1) {
      half[0].status = half[0].job->context.Check();
      if (half[0].status.ok()) half[0].status = Launch(half);
    } else if (!Launch(half).ok()) {
      Bisect(half);
    }
  }
}

absl::Status BatchingScorer::Launch(absl::Span<Chunk> chunks) const {
  std::vector<ScoringRequest> requests;
  requests.reserve(chunks.size());
  for (const Chunk& chunk : chunks) requests.push_back(chunk.Request());
  absl::StatusOr<std::vector<PairScores>> answers = scorer_->Score(requests);
  if (!answers.ok()) return answers.status();
  bool whole = answers->size() == requests.size();
  for (size_t i = 0; whole && i < requests.size(); ++i) whole = Fits((*answers)[i], requests[i]);
  if (!whole) return absl::InternalError("the scorer's answer does not have its requests' sizes");
  for (size_t i = 0; i < requests.size(); ++i) Append((*answers)[i], chunks[i].job->scores);
  return absl::OkStatus();
}

void BatchingScorer::SettleBatch(const std::vector<Chunk>& batch) {
  for (const Chunk& chunk : batch) {
    Job& job = *chunk.job;
    job.in_flight = false;
    if (!chunk.status.ok()) {
      if (job.rows_left() > 0) Remove(job);
      job.Complete(chunk.status);
    } else if (job.rows_left() == 0) {
      job.Complete(absl::OkStatus());
    }
  }
}

void BatchingScorer::Remove(const Job& job) {
  Queue& queue = QueueOf(job.context.priority());
  queue.erase(std::find(queue.begin(), queue.end(), &job));
  queued_pairs_ -= job.rows_left();
}

}  // namespace dime
