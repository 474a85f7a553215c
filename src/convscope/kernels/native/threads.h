// One way to use several threads: the OpenMP runtime that torch has loaded.
#pragma once

#include <stdint.h>

#if defined(CONVSCOPE_PLAIN_THREADS)  // the thread sanitizer does not know OpenMP
#include <thread>
#include <vector>
#endif

namespace convscope {

// Calls body(thread) for thread = 0 .. threads-1, at once, and waits for all of them. With
// one thread nothing of OpenMP is touched, which also makes it safe after a fork.
template <class Body>
inline void in_parallel(int threads, const Body &body) {
  if (threads <= 1) {
    body(0);
    return;
  }
#if defined(CONVSCOPE_PLAIN_THREADS)
  std::vector<std::thread> crew;
  for (int thread = 1; thread < threads; ++thread)
    crew.emplace_back([&body, thread] { body(thread); });
  body(0);
  for (std::thread &member : crew) member.join();
#elif defined(_OPENMP)
  // The runtime may give fewer threads than were asked for: all numbers are still served.
#pragma omp parallel for num_threads(threads) schedule(static, 1)
  for (int thread = 0; thread < threads; ++thread) body(thread);
#else
  for (int thread = 0; thread < threads; ++thread) body(thread);
#endif
}

// Calls body(part) for part = 0 .. parts-1, each thread for a run of neighbors.
template <class Body>
inline void in_parts(int64_t parts, int threads, const Body &body) {
  in_parallel(threads, [&](int thread) {
    const int64_t end = parts * (thread + 1) / threads;
    for (int64_t part = parts * thread / threads; part < end; ++part) body(part);
  });
}

}  // namespace convscope
