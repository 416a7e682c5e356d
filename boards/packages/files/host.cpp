// Classifies images on the card with XRT's native API (UG1393, XRT documentation).
//
//   ./host psahw.xclbin images.bin [results.bin] [device]
//
// images.bin contains the images one after another, each in raster order, uint8 (height, width, colours). The program
// prints one line per image: its number, its class and the class's name. It writes one record per image to results.bin,
// int32: class and flags in one word, then the logits.
// Exit status: 0 if successful, 1 if the card reported an error, 2 for wrong use.

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "xrt/xrt_bo.h"
#include "xrt/xrt_device.h"
#include "xrt/xrt_kernel.h"

#include "psahw_kernel.h"

namespace {

constexpr std::size_t record_words = 1 + psahw::classes;
constexpr std::uint32_t not_written = 0xFFFFFFFF;
constexpr std::size_t largest_batch = 4096;
constexpr auto patience = std::chrono::seconds(60);

// The buffers of a batch on the host and on the card. With two batches the kernel works on one while the other is
// copied.
struct Batch {
    xrt::bo images, results;
    xrt::run run;
    std::size_t count = 0;

    Batch(xrt::device &device, xrt::kernel &kernel, std::size_t size)
        : images(device, size * psahw::frame_bytes, kernel.group_id(0)),
          results(device, size * record_words * 4, kernel.group_id(1)), run(kernel) {}

    void start(const std::uint8_t *first, std::size_t number) {
        count = number;
        std::memcpy(images.map<std::uint8_t *>(), first, count * psahw::frame_bytes);
        std::memset(results.map<std::uint8_t *>(), 0xFF, count * record_words * 4);
        images.sync(XCL_BO_SYNC_BO_TO_DEVICE);
        results.sync(XCL_BO_SYNC_BO_TO_DEVICE);
        run.set_arg(0, images);
        run.set_arg(1, results);
        run.set_arg(2, static_cast<std::uint32_t>(count));
        run.start();
    }

    // Appends the batch's records. Returns false if the card did not finish or could not read an image.
    bool finish(std::vector<std::int32_t> &records) {
        if (run.wait(patience) != ERT_CMD_STATE_COMPLETED)
            return false;
        results.sync(XCL_BO_SYNC_BO_FROM_DEVICE);
        const auto *words = results.map<std::int32_t *>();
        records.insert(records.end(), words, words + count * record_words);
        for (std::size_t k = 0; k < count; ++k) {
            const auto head = static_cast<std::uint32_t>(words[k * record_words]);
            if (head == not_written || head >> 16)
                return false;
        }
        return true;
    }
};

// Compares the digest in the kernel's registers with that of the network this program was written for.
bool same_network(xrt::kernel &kernel) {
    for (std::uint32_t k = 0; k < 8; ++k)
        if (kernel.read_register(psahw::hash_offset + 4 * k) != psahw::digest[k])
            return false;
    return true;
}

int classify(const std::string &xclbin, const std::vector<std::uint8_t> &images, const char *results, unsigned index) {
    const std::size_t count = images.size() / psahw::frame_bytes;
    xrt::device device(index);
    const auto uuid = device.load_xclbin(xclbin);
    xrt::kernel kernel(device, uuid, psahw::kernel, xrt::kernel::cu_access_mode::exclusive);
    if (!same_network(kernel)) {
        std::cerr << "host: " << xclbin << " holds another network than " << psahw::network << "\n";
        return 1;
    }
    const std::size_t size = count < largest_batch ? count : largest_batch;
    Batch batches[2] = {Batch(device, kernel, size), Batch(device, kernel, size)};

    std::vector<std::int32_t> records;
    const auto begin = std::chrono::steady_clock::now();
    std::size_t sent = 0, taken = 0;
    for (std::size_t turn = 0; taken < count; ++turn) {
        auto &batch = batches[turn % 2], &other = batches[(turn + 1) % 2];
        if (sent < count) {
            const std::size_t number = count - sent < size ? count - sent : size;
            batch.start(images.data() + sent * psahw::frame_bytes, number);
            sent += number;
        }
        if (other.count) {
            taken += other.count;
            const bool good = other.finish(records);
            other.count = 0;
            if (!good) {
                std::cerr << "host: the batch that ends with image " << taken - 1
                          << " failed; status register: " << kernel.read_register(psahw::status_offset) << "\n";
                return 1;
            }
        }
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    if (const auto status = kernel.read_register(psahw::status_offset)) {
        std::cerr << "host: the kernel could not access memory; status register: " << status << "\n";
        return 1;
    }
    for (std::size_t k = 0; k < count; ++k) {
        const auto class_index = records[k * record_words] & 0xFFFF;
        std::cout << k << " " << class_index << " " << psahw::class_names[class_index] << "\n";
    }
    std::cerr << count << " images, " << count / seconds.count() << " images/s with copies\n";
    if (results) {
        std::ofstream file(results, std::ios::binary);
        file.write(reinterpret_cast<const char *>(records.data()), static_cast<std::streamsize>(records.size() * 4));
        file.close();
        if (!file) {
            std::cerr << "host: cannot write " << results << "\n";
            return 1;
        }
    }
    return 0;
}

}  // namespace

int main(int argc, char **argv) {
    if (argc < 3 || argc > 5) {
        std::cerr << "usage: host psahw.xclbin images.bin [results.bin] [device]\n";
        return 2;
    }
    std::ifstream file(argv[2], std::ios::binary);
    const std::vector<std::uint8_t> images{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    if (!file || images.empty() || images.size() % psahw::frame_bytes) {
        std::cerr << "host: " << argv[2] << " must hold images of " << psahw::frame_bytes << " bytes each\n";
        return 2;
    }
    try {
        const char *results = argc > 3 && *argv[3] ? argv[3] : nullptr;
        return classify(argv[1], images, results, argc > 4 ? static_cast<unsigned>(std::atoi(argv[4])) : 0);
    } catch (const std::exception &error) {
        std::cerr << "host: " << error.what() << "\n";
        return 1;
    }
}
