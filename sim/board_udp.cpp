// A simulated board: the Verilated design, Ethernet at its PHY's GMII byte by byte, and a UDP socket at the other end of
// the cable.
//
// Usage: board_udp PERIOD ADDRESS PORT DAMAGE [+verilator+...]
//
// PERIOD is the period of the accelerator's clock in femtoseconds. ADDRESS, as one number, and PORT are the board's.
// DAMAGE is the mean number of frames between damaged ones, or 0 for none. The program writes udp://127.0.0.1:PORT to
// standard output, which is the address of its socket, and ends when its standard input does.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "Vpsahw_board.h"
#include "board.h"

namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint64_t kEthernetHalf = 4'000'000;    // femtoseconds, half a period of 125 MHz
constexpr uint64_t kPhyHalf = 3'999'200;         // half a period of the PHY's clock, 200 ppm faster (IEEE 802.3's limit)
constexpr uint64_t kPhase = 1'300'000;           // femtoseconds, phase of the PHY's clock
constexpr uint64_t kReset = 200'000'000;         // femtoseconds
constexpr unsigned kAsk = 20'000;                // cycles of Ethernet between two ARP requests, until one is answered
constexpr size_t kAhead = 8;                     // largest number of frames that wait for the device
constexpr size_t kGap = 12, kPreamble = 8;       // cycles between frames; bytes of preamble and start delimiter
constexpr size_t kShortest = 60, kLongest = 1514;  // bytes of a frame without its check sequence
constexpr size_t kPayload = 1472;                // bytes in the longest datagram
constexpr uint8_t kHostMac[6] = {0x02, 0, 0, 0, 0, 1};
constexpr uint32_t kHost = 0x0a00'00fe;          // 10.0.0.254
constexpr uint16_t kIpv4 = 0x0800, kArp = 0x0806;

void put(Bytes &to, uint64_t value, int bytes) {
  while (bytes-- > 0) to.push_back(static_cast<uint8_t>(value >> 8 * bytes));
}

uint32_t get(const Bytes &from, size_t at, int bytes) {
  uint32_t value = 0;
  while (bytes-- > 0) value = value << 8 | from.at(at++);
  return value;
}

// Returns the check sequence of a frame (IEEE 802.3, 3.2.9).
uint32_t crc(const uint8_t *bytes, size_t count) {
  uint32_t state = ~0u;
  while (count-- > 0) {
    state ^= *bytes++;
    for (int bit = 0; bit < 8; bit++) state = state >> 1 ^ (state & 1 ? 0xedb88320u : 0);
  }
  return ~state;
}

// Returns the Internet checksum (RFC 1071).
uint16_t checksum(const Bytes &bytes, size_t from, size_t to, uint32_t sum = 0) {
  for (size_t at = from; at < to; at++) sum += at - from & 1 ? bytes[at] : bytes[at] << 8;
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum;
}

// The host's network card and network stack up to UDP.
class Station {
 public:
  Station(uint32_t board, uint16_t port) : board_(board), port_(port) {}
  bool known() const { return known_; }

  Bytes request() const {
    Bytes frame = header({0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, kArp);
    put(frame, 0x0001'0800'0604'0001, 8);
    frame.insert(frame.end(), kHostMac, kHostMac + 6);
    put(frame, kHost, 4);
    put(frame, 0, 6);
    put(frame, board_, 4);
    return frame;
  }

  Bytes datagram(const uint8_t *bytes, size_t count, uint16_t from) const {
    Bytes frame = header(mac_, kIpv4);
    put(frame, 0x4500, 2);
    put(frame, 28 + count, 2);
    put(frame, 0x0000'4000'4011'0000, 8);
    put(frame, kHost, 4);
    put(frame, board_, 4);
    set(frame, 24, checksum(frame, 14, 34));
    put(frame, from, 2);
    put(frame, port_, 2);
    put(frame, 8 + count, 2);
    put(frame, 0, 2);
    frame.insert(frame.end(), bytes, bytes + count);
    const uint16_t sum = checksum(frame, 26, frame.size(), 17 + 8 + count);
    set(frame, 40, sum ? sum : 0xffff);
    return frame;
  }

  // Returns the bytes of a datagram to the host, and sets `to` to its port, or to 0 if the frame is an answer to ARP.
  // The device must send nothing but these, and datagrams must be correct and not fragmented.
  Bytes take(const Bytes &frame, uint16_t &to) {
    to = 0;
    if (frame.size() < kShortest + 4 || frame.size() > kLongest + 4 || crc(frame.data(), frame.size()) != 0x2144df1cu)
      misbehaves("sent a frame that is too short or long, or has a wrong check sequence");
    for (size_t k = 0; k < 6; k++)
      if (frame[k] != kHostMac[k]) misbehaves("sent a frame to somebody else");
    if (get(frame, 12, 2) == kArp) {
      if (get(frame, 14, 4) != 0x0001'0800 || get(frame, 18, 4) != 0x0604'0002 || get(frame, 28, 4) != board_ ||
          !std::equal(kHostMac, kHostMac + 6, frame.begin() + 32) || get(frame, 38, 4) != kHost)
        misbehaves("sent a wrong ARP reply");
      mac_.assign(frame.begin() + 22, frame.begin() + 28);
      known_ = true;
      return {};
    }
    const size_t length = get(frame, 38, 2);
    if (get(frame, 12, 4) != (kIpv4 << 16 | 0x4500) || frame[23] != 17 || checksum(frame, 14, 34) != 0 ||
        get(frame, 26, 4) != board_ || get(frame, 30, 4) != kHost || get(frame, 34, 2) != port_ || length < 8 ||
        get(frame, 16, 2) != 20 + length || 34 + length + 4 > frame.size() || (get(frame, 20, 2) & 0x3fff) != 0 ||
        frame[22] == 0 || !std::equal(mac_.begin(), mac_.end(), frame.begin() + 6))
      misbehaves("sent a wrong datagram");
    if (get(frame, 40, 2) != 0 && checksum(frame, 26, 34 + length, 17 + length) != 0)
      misbehaves("sent a datagram with a wrong checksum");
    to = static_cast<uint16_t>(get(frame, 36, 2));
    return {frame.begin() + 42, frame.begin() + 34 + length};
  }

 private:
  static void set(Bytes &frame, size_t at, uint16_t value) {
    frame[at] = value >> 8;
    frame[at + 1] = value & 0xff;
  }
  static Bytes header(Bytes to, uint16_t kind) {
    to.insert(to.end(), kHostMac, kHostMac + 6);
    put(to, kind, 2);
    return to;
  }

  uint32_t board_;
  uint16_t port_;
  Bytes mac_ = Bytes(6);
  bool known_ = false;
};

// Damages on average one frame in `every` on its way, so that its receiver drops it.
class Damage {
 public:
  Damage(uint64_t every, uint64_t seed) : every_(every), random_(seed) {}
  bool next() { return every_ && random_() % every_ == 0; }
  void spoil(Bytes &frame) {
    const uint64_t random = random_();
    frame[kPreamble + random % (frame.size() - kPreamble)] ^= 1 << (random >> 32) % 8;
  }

 private:
  uint64_t every_;
  Random random_;
};

// Sends frames to the device over GMII, one byte with RX_DV and RX_ER per cycle.
class Wire {
 public:
  bool idle() const { return frames_.empty() && gap_ == 0; }
  bool full() const { return frames_.size() >= kAhead; }
  void put(Bytes frame, Damage &damage) {
    frame.resize(std::max(frame.size(), kShortest));
    const uint32_t check = crc(frame.data(), frame.size());
    for (int k = 0; k < 4; k++) frame.push_back(check >> 8 * k);
    static constexpr uint8_t before[kPreamble] = {0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0xd5};
    frame.insert(frame.begin(), before, before + kPreamble);
    if (damage.next()) damage.spoil(frame);
    frames_.push_back(std::move(frame));
  }
  unsigned next() {
    if (gap_ > 0) {
      gap_--;
      return 0;
    }
    if (frames_.empty()) return 0;
    const unsigned cycle = 0x100u | frames_.front()[at_];
    if (++at_ == frames_.front().size()) {
      frames_.pop_front();
      at_ = 0;
      gap_ = kGap;
    }
    return cycle;
  }

 private:
  std::deque<Bytes> frames_;
  size_t at_ = 0, gap_ = 0;
};

// Receives frames from the device.
class Tap {
 public:
  bool idle() const { return frame_.empty(); }
  // Returns whether a frame has ended, and copies it to `frame` without its preamble.
  bool next(unsigned cycle, Bytes &frame) {
    if (cycle & 0x200) misbehaves("sent an error");
    if (cycle & 0x100) {
      if (frame_.empty() && gap_ < kGap) misbehaves("sent a frame too soon after another");
      frame_.push_back(cycle & 0xff);
      gap_ = 0;
      return false;
    }
    gap_ = std::min(gap_ + 1, kGap);
    if (frame_.empty()) return false;
    for (size_t k = 0; k < kPreamble; k++)
      if (frame_.size() < kPreamble || frame_[k] != (k + 1 < kPreamble ? 0x55 : 0xd5))
        misbehaves("sent a frame without its preamble");
    frame.assign(frame_.begin() + kPreamble, frame_.end());
    frame_.clear();
    return true;
  }

 private:
  Bytes frame_;
  size_t gap_ = kGap;
};

// Opens the socket, and writes its address to standard output.
int open_socket() {
  const int host = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  sockaddr_in name{};
  socklen_t size = sizeof name;
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (host < 0 || bind(host, reinterpret_cast<sockaddr *>(&name), sizeof name) ||
      getsockname(host, reinterpret_cast<sockaddr *>(&name), &size))
    fail("socket");
  std::printf("udp://127.0.0.1:%u\n", ntohs(name.sin_port));
  return host;
}

}  // namespace

int main(int argc, char **argv) {
  const uint64_t period = argc > 4 ? std::strtoull(argv[1], nullptr, 10) : 0;
  if (period < 2) {
    std::fprintf(stderr, "usage: %s PERIOD ADDRESS PORT DAMAGE\n", argv[0]);
    return 2;
  }
  const auto context = std::make_unique<VerilatedContext>();
  context->commandArgs(argc, argv);
  const auto board = std::make_unique<Vpsahw_board>(context.get());
  Station station(std::strtoul(argv[2], nullptr, 10), std::strtoul(argv[3], nullptr, 10));
  Damage damage(std::strtoull(argv[4], nullptr, 10), 1), lost(std::strtoull(argv[4], nullptr, 10), 2);
  Wire wire;
  Tap tap;
  sockaddr_in peer{};
  const int host = open_socket();
  uint64_t quiet = 0, cycle = 0;
  bool ended = false;

  const auto from_host = [&] {
    uint8_t bytes[kPayload + 1];
    while (!wire.full()) {
      sockaddr_in sender{};
      socklen_t size = sizeof sender;
      const ssize_t count = recvfrom(host, bytes, sizeof bytes, 0, reinterpret_cast<sockaddr *>(&sender), &size);
      if (count < 0) return;
      if (static_cast<size_t>(count) > kPayload) continue;
      peer = sender;
      wire.put(station.datagram(bytes, count, ntohs(sender.sin_port)), damage);
    }
  };
  const auto from_device = [&](const Bytes &frame) {
    if (lost.next()) return;
    const bool met = station.known();
    uint16_t to;
    const Bytes bytes = station.take(frame, to);
    if (!met && station.known()) std::fflush(stdout);  // the caller gets the address only now
    if (to && to == ntohs(peer.sin_port))
      sendto(host, bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr *>(&peer), sizeof peer);
  };

  CData *const clocks[] = {&board->clk, &board->ethernet_clk, &board->ethernet_rx_clk};
  const uint64_t half[] = {period / 2, kEthernetHalf, kPhyHalf};
  uint64_t next[] = {half[0], half[1], half[2] + kPhase};
  board->rst = board->ethernet_rst = board->ethernet_rx_rst = 1;
  while (!ended) {
    const uint64_t now = std::min({next[0], next[1], next[2]});
    for (int k = 0; k < 3; k++) {
      if (next[k] != now) continue;
      next[k] += half[k];
      *clocks[k] ^= 1;
      if (*clocks[k]) continue;
      // Inputs change at the falling edge, half a cycle before the device samples them.
      if (k == 0 && now > kReset) board->rst = 0;
      if (k == 1) {
        if (now > kReset) board->ethernet_rst = 0;
        Bytes frame;
        if (tap.next(board->gmii_tx, frame)) from_device(frame);
        quiet = wire.idle() && tap.idle() ? quiet + 1 : 0;
        if (cycle % kLook == 0 && look(host, quiet, ended)) from_host();
        if (!station.known() && cycle % kAsk == kAsk / 2) wire.put(station.request(), damage);
        cycle++;
      }
      if (k == 2) {
        if (now > kReset) board->ethernet_rx_rst = 0;
        board->gmii_rx = wire.next();
      }
    }
    board->eval();
  }
  board->final();
  return 0;
}
