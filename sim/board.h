// Functions that all simulated boards share: errors, polling of the host's end, and random numbers.
#pragma once

#include <poll.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

constexpr unsigned kLook = 2048;        // cycles between two polls of the host's end
constexpr uint64_t kQuiet = 2'000'000;  // cycles without traffic after which the simulation slows down
constexpr int kPause = 5;               // milliseconds that each poll may then wait

// Ends the program because of an error of the operating system.
[[noreturn]] inline void fail(const char *what) {
  std::perror(what);
  std::exit(2);
}

// Ends the program because the device has violated the link's specification. Standard output is not flushed, because
// it could contain the name of a port that can no longer be used.
[[noreturn]] inline void misbehaves(const char *what) {
  std::fprintf(stderr, "the device %s\n", what);
  std::fflush(stderr);
  std::_Exit(3);
}

// Returns whether there is something to read from `other`, and waits for it if there has been no traffic for a long
// time. Sets `ended` when standard input has ended.
inline bool look(int other, uint64_t quiet, bool &ended) {
  pollfd ends[] = {{STDIN_FILENO, POLLIN, 0}, {other, POLLIN, 0}};
  if (poll(ends, 2, quiet > kQuiet ? kPause : 0) <= 0) return false;
  char byte;
  ended = ended || (ends[0].revents && read(STDIN_FILENO, &byte, 1) <= 0);
  return ends[1].revents & POLLIN;
}

// Marsaglia's xorshift64, so that every run has the same disturbances.
class Random {
 public:
  explicit Random(uint64_t seed = 1) : state_(seed * 0x9e3779b97f4a7c15u) {}
  uint64_t operator()() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_;
  }

 private:
  uint64_t state_;
};
