// What simulated boards have in common: how they look around, rest and end.
#pragma once

#include <poll.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

constexpr unsigned kLook = 2048;        // cycles between looks at the other end
constexpr uint64_t kQuiet = 2'000'000;  // cycles without traffic after which the processor is left to others
constexpr int kPause = 5;               // milliseconds, every kLook quiet cycles

[[noreturn]] inline void fail(const char *what) {
  std::perror(what);
  std::exit(2);
}

// Nothing that waits in standard output may leave: a port that nobody can use.
[[noreturn]] inline void misbehaves(const char *what) {
  std::fprintf(stderr, "the device %s\n", what);
  std::fflush(stderr);
  std::_Exit(3);
}

// Whether there is something to read at ``other``. Waits for it if nothing has happened for long. Ends the program
// when its standard input does, at a place where nothing is left to be done.
inline bool look(int other, uint64_t quiet, bool &ended) {
  pollfd ends[] = {{STDIN_FILENO, POLLIN, 0}, {other, POLLIN, 0}};
  if (poll(ends, 2, quiet > kQuiet ? kPause : 0) <= 0) return false;
  char byte;
  ended = ended || (ends[0].revents && read(STDIN_FILENO, &byte, 1) <= 0);
  return ends[1].revents & POLLIN;
}

// Marsaglia's xorshift64: the same disturbances in every run.
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
