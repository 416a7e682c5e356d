// A stand-in for those parts of XRT's native API that host.cpp uses: a card whose kernel adds up bytes.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "psahw_kernel.h"

enum ert_cmd_state { ERT_CMD_STATE_NEW = 1, ERT_CMD_STATE_COMPLETED = 4, ERT_CMD_STATE_TIMEOUT = 9 };
enum xclBOSyncDirection { XCL_BO_SYNC_BO_TO_DEVICE, XCL_BO_SYNC_BO_FROM_DEVICE };

namespace xrt {

// Returns the fault that the card simulates.
inline std::string fault() {
    const char *value = std::getenv("CARD_FAULT");
    return value ? value : "";
}

struct uuid {};

class device {
  public:
    explicit device(unsigned index) {
        if (index)
            throw std::runtime_error("no such device");
    }
    uuid load_xclbin(const std::string &) { return {}; }
};

}  // namespace xrt
