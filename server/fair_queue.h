#ifndef DIME_SERVER_FAIR_QUEUE_H_
#define DIME_SERVER_FAIR_QUEUE_H_

#include <cstdint>
#include <deque>
#include <list>
#include <string>
#include <unordered_map>
#include <utility>

namespace dime {

// What waits, by client: in the order in which it came for each client, and in turn between the
// clients, so that one with many tasks does not hold up the others.
// Not thread-safe.
template <typename Task>
class FairQueue {
 public:
  void Push(const std::string& client, Task task) {
    auto [found, is_new] = by_client_.try_emplace(client);
    if (is_new) found->second = turns_.insert(turns_.end(), {client, {}});
    found->second->tasks.push_back(std::move(task));
    ++size_;
  }

  // The next in turn; the queue must not be empty.
  Task Pop() {
    const auto first = turns_.begin();
    Task task = std::move(first->tasks.front());
    first->tasks.pop_front();
    --size_;
    if (first->tasks.empty()) {
      by_client_.erase(first->client);
      turns_.erase(first);
    } else {
      turns_.splice(turns_.end(), turns_, first);
    }
    return task;
  }

  bool empty() const { return size_ == 0; }
  int64_t size() const { return size_; }
  // Clients with something in the queue.
  size_t clients() const { return turns_.size(); }
  int64_t size_of(const std::string& client) const {
    const auto found = by_client_.find(client);
    return found == by_client_.end() ? 0 : static_cast<int64_t>(found->second->tasks.size());
  }

 private:
  struct Turn {
    std::string client;
    std::deque<Task> tasks;  // never empty between calls
  };
  std::list<Turn> turns_;  // whose turn it is comes first
  std::unordered_map<std::string, typename std::list<Turn>::iterator> by_client_;
  int64_t size_ = 0;
};

}  // namespace dime

#endif  // DIME_SERVER_FAIR_QUEUE_H_
