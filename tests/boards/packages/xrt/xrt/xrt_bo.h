#pragma once

#include <memory>

#include "xrt_device.h"

namespace xrt {

// A buffer on the host and on the card. Copies of it refer to the same buffer, as in XRT.
class bo {
    struct Sides {
        std::vector<std::uint8_t> host, card;
    };
    std::shared_ptr<Sides> sides;

  public:
    bo() = default;
    bo(device &, std::size_t size, int) : sides(std::make_shared<Sides>()) {
        sides->host.resize(size);
        sides->card.resize(size);
    }
    template <typename T> T map() { return reinterpret_cast<T>(sides->host.data()); }
    void sync(xclBOSyncDirection direction) {
        if (direction == XCL_BO_SYNC_BO_TO_DEVICE)
            sides->card = sides->host;
        else
            sides->host = sides->card;
    }
    std::vector<std::uint8_t> &memory() { return sides->card; }
};

}  // namespace xrt
