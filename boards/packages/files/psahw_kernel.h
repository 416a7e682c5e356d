// Constants of the kernel for host.cpp.
#pragma once

#include <cstddef>
#include <cstdint>

namespace psahw {
constexpr const char *network = "@{network}";
constexpr const char *kernel = "@{kernel}";
constexpr std::size_t frame_bytes = @{frame_bytes};
constexpr std::size_t classes = @{classes};
constexpr const char *class_names[classes] = {@{names}};
constexpr std::uint32_t digest[8] = {@{digest}};
constexpr std::uint32_t hash_offset = @{hash_offset};
constexpr std::uint32_t status_offset = @{status_offset};
}  // namespace psahw
