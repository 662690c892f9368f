//#Status: 42
//#Flags: -pthread
//#Tls: yes
// Threads of the library: thread, mutex, condition_variable, call_once, async, promise.
#include "threads.h"
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <future>
#include <mutex>
#include <stdexcept>
#include <thread>

static std::once_flag once, failing;
static std::atomic<int> onces, sum;
thread_local int mine = 5;

int main() {
  std::thread threads[4];
  for (int i = 0; i < 4; i++)
    threads[i] = std::thread([i] {
      std::call_once(once, [] { onces++; });
      mine += i;
      there += i;
      sum += mine * there;
    });
  for (auto &t : threads)
    t.join();
  std::printf("once %d sum %d mine %d there %d\n", onces.load(), sum.load(), mine, there);

  int attempts = 0;
  for (int i = 0; i < 3; i++)
    try {
      std::call_once(failing, [&] {
        if (++attempts < 2)
          throw std::runtime_error("once more");
      });
    } catch (const std::exception &e) {
      std::printf("%s\n", e.what());
    }
  std::printf("attempts %d\n", attempts);

  auto value = std::async(std::launch::async, work, 6);
  auto lazy = std::async(std::launch::deferred, work, 7);
  auto fails = std::async(std::launch::async, work, -1);
  std::printf("async %d %d\n", value.get(), lazy.get());
  try {
    fails.get();
  } catch (const std::invalid_argument &e) {
    std::printf("async threw %s\n", e.what());
  }

  std::mutex lock;
  std::condition_variable changed;
  int stage = 0;
  std::promise<int> promise;
  std::thread partner([&] {
    std::unique_lock<std::mutex> hold(lock);
    changed.wait(hold, [&] { return stage == 1; });
    stage = 2;
    changed.notify_all();
    promise.set_value(31);
  });
  {
    std::unique_lock<std::mutex> hold(lock);
    stage = 1;
    changed.notify_all();
    changed.wait(hold, [&] { return stage == 2; });
  }
  int promised = promise.get_future().get();
  partner.join();
  std::printf("stage %d promised %d\n", stage, promised);
  return onces == 1 && attempts == 2 && promised == 31 ? 42 : 1;
}
