// Compresses and restores generated data in many levels, with threads, dictionaries and streams.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ZSTD_STATIC_LINKING_ONLY
#include "zdict.h"
#include "zstd.h"
#include "zstd_errors.h"

enum { SIZE = 600000 };
static unsigned char plain[SIZE], packed[SIZE * 2], restored[SIZE];

static unsigned next(unsigned *state) { return (*state = *state * 1664525u + 1013904223u) >> 16; }

// Words in random order, so that there is something to find at every level.
static void fill(unsigned seed, unsigned char *to, size_t size) {
    static const char *words[] = {"linker ", "loader ", "symbol ", "section ", "relocation ", "stub ", "\n", "address=", "0x"};
    size_t at = 0;
    while (at < size) {
        unsigned random = next(&seed);
        char word[24];
        if (random % 7 == 0) snprintf(word, sizeof word, "%u ", random * 7);
        else snprintf(word, sizeof word, "%s", words[random % 9]);
        for (const char *c = word; *c && at < size; c++) to[at++] = (unsigned char)*c;
    }
}

static unsigned long long checksum(const unsigned char *bytes, size_t size) {
    unsigned long long hash = 14695981039346656037ull;
    for (size_t i = 0; i < size; i++) hash = (hash ^ bytes[i]) * 1099511628211ull;
    return hash;
}

static void check(const char *what, size_t size) {
    if (ZSTD_isError(size)) {
        printf("%s: %s\n", what, ZSTD_getErrorName(size));
        return;
    }
    memset(restored, 0, sizeof restored);
    size_t back = ZSTD_decompress(restored, sizeof restored, packed, size);
    printf("%s: %zu bytes %016llx, %s\n", what, size, checksum(packed, size),
           ZSTD_isError(back) ? ZSTD_getErrorName(back) : back == SIZE && !memcmp(plain, restored, SIZE) ? "same" : "DIFFERENT");
}

static void levels(void) {
    static const int all[] = {-50, -5, 1, 2, 3, 5, 7, 9, 12, 15, 17, 19, 22};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char what[32];
        snprintf(what, sizeof what, "level %d", all[i]);
        check(what, ZSTD_compress(packed, sizeof packed, plain, SIZE, all[i]));
    }
}

static void threads(void) {
    ZSTD_CCtx *context = ZSTD_createCCtx();
    size_t status = ZSTD_CCtx_setParameter(context, ZSTD_c_nbWorkers, 3);
    printf("workers: %s\n", ZSTD_getErrorName(status));
    ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, 4);
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
    ZSTD_CCtx_setParameter(context, ZSTD_c_jobSize, 1 << 19);
    ZSTD_CCtx_setParameter(context, ZSTD_c_enableLongDistanceMatching, 1);
    check("threads", ZSTD_compress2(context, packed, sizeof packed, plain, SIZE));
    ZSTD_freeCCtx(context);
}

static void streams(void) {
    ZSTD_CStream *compress = ZSTD_createCStream();
    ZSTD_DStream *decompress = ZSTD_createDStream();
    ZSTD_initCStream(compress, 6);
    ZSTD_outBuffer out = {packed, sizeof packed, 0};
    for (size_t at = 0; at < SIZE; at += 50000) {
        ZSTD_inBuffer in = {plain + at, 50000, 0};
        ZSTD_compressStream2(compress, &out, &in, at + 50000 >= SIZE ? ZSTD_e_end : at % 100000 ? ZSTD_e_flush : ZSTD_e_continue);
    }
    check("stream", out.pos);
    ZSTD_inBuffer in = {packed, out.pos, 0};
    size_t total = 0, left = 1;
    while (left && !ZSTD_isError(left)) {
        ZSTD_outBuffer piece = {restored, 7777, 0};
        left = ZSTD_decompressStream(decompress, &piece, &in);
        total += piece.pos;
    }
    printf("stream back: %zu bytes\n", total);
    packed[out.pos / 2] ^= 0xff;
    check("damaged", out.pos);
    check("short", 20);
    ZSTD_freeCStream(compress);
    ZSTD_freeDStream(decompress);
}

static void dictionaries(void) {
    enum { SAMPLES = 400, EACH = 500 };
    static unsigned char samples[SAMPLES * EACH], dictionary[10000];
    static size_t sizes[SAMPLES];
    for (unsigned i = 0; i < SAMPLES; i++) {
        sizes[i] = EACH;
        fill(i * 977 + 5, samples + i * EACH, EACH);
    }
    size_t size = ZDICT_trainFromBuffer(dictionary, sizeof dictionary, samples, sizes, SAMPLES);
    if (ZDICT_isError(size)) {
        printf("dictionary: %s\n", ZDICT_getErrorName(size));
        return;
    }
    printf("dictionary %zu bytes, id %u\n", size, ZDICT_getDictID(dictionary, size));
    ZSTD_CDict *for_compression = ZSTD_createCDict(dictionary, size, 5);
    ZSTD_DDict *for_decompression = ZSTD_createDDict(dictionary, size);
    ZSTD_CCtx *compress = ZSTD_createCCtx();
    ZSTD_DCtx *decompress = ZSTD_createDCtx();
    size_t sum = 0, plainly = 0, same = 0;
    for (unsigned i = 0; i < SAMPLES; i++) {
        size_t length = ZSTD_compress_usingCDict(compress, packed, sizeof packed, samples + i * EACH, EACH, for_compression);
        sum += length;
        same += ZSTD_decompress_usingDDict(decompress, restored, SIZE, packed, length, for_decompression) == EACH &&
                !memcmp(restored, samples + i * EACH, EACH);
        plainly += ZSTD_compress(packed, sizeof packed, samples + i * EACH, EACH, 5);
    }
    printf("with dictionary %zu bytes, without %zu, %zu of %d same\n", sum, plainly, same, SAMPLES);
    ZSTD_freeCDict(for_compression);
    ZSTD_freeDDict(for_decompression);
    ZSTD_freeCCtx(compress);
    ZSTD_freeDCtx(decompress);
}

int main(void) {
    printf("zstd %s, %d to %d\n", ZSTD_versionString(), ZSTD_minCLevel(), ZSTD_maxCLevel());
    fill(1, plain, SIZE);
    levels();
    threads();
    streams();
    dictionaries();
    memset(plain, 0, SIZE);
    check("zeros", ZSTD_compress(packed, sizeof packed, plain, SIZE, 3));
    return 0;
}
