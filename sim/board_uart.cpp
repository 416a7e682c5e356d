// A simulated board: the Verilated design, its UART bit by bit, and a pseudo-terminal at the other end of the line.
//
// Usage: board_uart CYCLES_PER_BIT GLITCHES UART_CYCLES [+verilator+...]
//
// GLITCHES is the mean number of cycles between disturbances of the line to the device, or 0 for none. UART_CYCLES is
// the number of the UART's clock cycles per cycle of the accelerator's clock. If it is 1, both have the same clock, and
// otherwise the UART has the clock uart_clk. The program writes the name of the pseudo-terminal to standard output, and
// ends when its standard input does.
#include <fcntl.h>
#include <stdlib.h>
#include <termios.h>

#include <cerrno>
#include <deque>
#include <memory>

#include "Vpsahw_board.h"
#include "board.h"
#include "verilated.h"

namespace {

constexpr unsigned kReset = 4;   // cycles of the accelerator's clock
constexpr size_t kChunk = 4096;  // bytes per read from the terminal

// Sends characters to the device, each with a start bit, eight data bits and a stop bit.
class Sender {
 public:
  explicit Sender(unsigned period) : period_(period) {}
  bool idle() const { return waiting_.empty() && left_ == 0; }
  void put(const unsigned char *bytes, size_t count) { waiting_.insert(waiting_.end(), bytes, bytes + count); }
  int level() {
    if (left_ == 0) {
      if (waiting_.empty()) return 1;
      bits_ = 0x200u | waiting_.front() << 1;
      waiting_.pop_front();
      left_ = 10 * period_;
    }
    const int level = bits_ >> (10 - (left_ + period_ - 1) / period_) & 1;
    left_--;
    return level;
  }

 private:
  unsigned period_, left_ = 0, bits_ = 0;
  std::deque<unsigned char> waiting_;
};

// Receives characters from the device. A stop bit that is low ends the program.
class Receiver {
 public:
  explicit Receiver(unsigned period) : period_(period) {}
  bool idle() const { return at_ < 0; }
  // Returns the byte that is complete in this cycle, or -1.
  int level(int line) {
    if (at_ < 0) {
      if (!line) at_ = 0, bits_ = 0;
      return -1;
    }
    at_++;
    if (at_ % period_ != period_ / 2) return -1;
    const unsigned bit = at_ / period_;
    if (bit >= 1 && bit <= 8) bits_ |= static_cast<unsigned>(line) << (bit - 1);
    if (bit < 9) return -1;
    at_ = -1;
    if (!line) misbehaves("sent a character without a stop bit");
    return static_cast<int>(bits_);
  }

 private:
  int period_, at_ = -1;
  unsigned bits_ = 0;
};

// Inverts the line for up to three bits, on average once in `every` cycles.
class Glitches {
 public:
  Glitches(uint64_t every, unsigned period) : every_(every), longest_(3 * period) {}
  int level(int line) {
    if (every_ == 0) return line;
    const uint64_t random = random_();
    if (left_ > 0) {
      left_--;
    } else if (random % every_ == 0) {
      left_ = 1 + (random >> 40) % longest_;
    }
    return left_ > 0 ? !line : line;
  }

 private:
  uint64_t every_;
  Random random_;
  unsigned longest_, left_ = 0;
};

// Opens a pseudo-terminal, and writes the name of its other end to standard output.
int open_terminal() {
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY);
  if (terminal < 0 || grantpt(terminal) || unlockpt(terminal)) fail("pseudo-terminal");
  const char *name = ptsname(terminal);
  // This end stays open, because otherwise the terminal would hang up when a host closes its end.
  const int other = open(name, O_RDWR | O_NOCTTY);
  termios settings;
  if (other < 0 || tcgetattr(other, &settings)) fail(name);
  cfmakeraw(&settings);
  if (tcsetattr(other, TCSANOW, &settings) || fcntl(terminal, F_SETFL, O_NONBLOCK)) fail(name);
  std::printf("%s\n", name);
  std::fflush(stdout);
  return terminal;
}

// Sends a byte to the host, and waits while the terminal is full.
void send(int terminal, unsigned char byte) {
  while (write(terminal, &byte, 1) != 1) {
    if (errno != EAGAIN && errno != EINTR) fail("pseudo-terminal");
    pollfd ready{terminal, POLLOUT, 0};
    poll(&ready, 1, 100);
  }
}

// The board's clocks, whose cycles are counted by those of the UART. The accelerator's edges lie at falling edges of the
// UART's clock, so that what crosses between the two was stable for half of its cycle.
template <class Board>
class Clocks {
 public:
  Clocks(Board &board, unsigned ratio) : board_(board), ratio_(ratio) {}
  void reset(int level) {
    board_.rst = level;
    if constexpr (requires { board_.uart_rst; }) board_.uart_rst = level;
  }
  void step(uint64_t cycle) {
    if constexpr (requires { board_.uart_clk; }) {
      if (cycle % ratio_ == 0) board_.clk = 1;
      if (cycle % ratio_ == ratio_ / 2) board_.clk = 0;
      edge(board_.uart_clk, 0);
      edge(board_.uart_clk, 1);
    } else {
      edge(board_.clk, 0);
      edge(board_.clk, 1);
    }
  }

 private:
  void edge(CData &clock, int level) {
    clock = level;
    board_.eval();
  }
  Board &board_;
  uint64_t ratio_;
};

}  // namespace

int main(int argc, char **argv) {
  const unsigned period = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 0;
  const unsigned ratio = argc > 3 ? std::strtoul(argv[3], nullptr, 10) : 0;
  if (period < 4 || ratio < 1 || (ratio > 1 && ratio % 2)) {
    std::fprintf(stderr, "usage: %s CYCLES_PER_BIT GLITCHES UART_CYCLES: at least 4, any, 1 or even\n", argv[0]);
    return 2;
  }
  const auto context = std::make_unique<VerilatedContext>();
  context->commandArgs(argc, argv);
  const auto board = std::make_unique<Vpsahw_board>(context.get());
  const int terminal = open_terminal();
  Sender sender(period);
  Receiver receiver(period);
  Glitches glitches(std::strtoull(argv[2], nullptr, 10), period);
  Clocks clocks(*board, ratio);
  uint64_t quiet = 0;
  bool ended = false;

  const uint64_t started = kReset * ratio;
  clocks.reset(1);
  for (uint64_t cycle = 0; !ended; cycle++) {
    if (cycle == started) clocks.reset(0);
    if (cycle % kLook == 0 && look(terminal, quiet / ratio, ended) && sender.idle()) {
      unsigned char bytes[kChunk];
      const ssize_t count = read(terminal, bytes, sizeof bytes);
      if (count > 0) sender.put(bytes, count);
    }
    const int byte = cycle > started ? receiver.level(board->uart_tx) : -1;
    if (byte >= 0) send(terminal, static_cast<unsigned char>(byte));
    quiet = sender.idle() && receiver.idle() ? quiet + 1 : 0;
    board->uart_rx = glitches.level(sender.level());
    clocks.step(cycle);
  }
  board->final();
  return 0;
}
