// The functions of LZ4 that Verilator's FST writer needs, for machines without LZ4's header. They write LZ4's format
// without compression: a block that contains only literals is valid. FST files become larger, and all viewers read them.
#pragma once
#include <cstring>

static inline int LZ4_compressBound(int size) { return size + size / 255 + 16; }

static inline int LZ4_compress_default(const char* source, char* target, int size, int capacity) {
    if (capacity < LZ4_compressBound(size)) return 0;
    unsigned char* out = reinterpret_cast<unsigned char*>(target);
    *out++ = static_cast<unsigned char>((size < 15 ? size : 15) << 4);  // literals, no match
    if (size >= 15) {
        int rest = size - 15;
        for (; rest >= 255; rest -= 255) *out++ = 255;
        *out++ = static_cast<unsigned char>(rest);
    }
    if (size) std::memcpy(out, source, size);
    return static_cast<int>(out - reinterpret_cast<unsigned char*>(target)) + size;
}
