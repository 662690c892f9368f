// Compresses and restores generated data in every level, strategy and format.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "zlib.h"

enum { SIZE = 400000 };
static unsigned char plain[SIZE], packed[SIZE * 2], restored[SIZE];

static void fill(int kind) {
    unsigned state = 12345;
    for (int i = 0; i < SIZE; i++) {
        state = state * 1664525u + 1013904223u;
        switch (kind) {
        case 0: plain[i] = (unsigned char)(state >> 24); break;
        case 1: plain[i] = (unsigned char)("the quick brown fox jumps over the lazy dog "[(i + (state >> 29)) % 44]); break;
        default: plain[i] = (unsigned char)(i / 1000 % 3 ? 0 : state >> 30);
        }
    }
}

static void stream(int kind, int level, int strategy, int window, int memory) {
    z_stream deflater = {0}, inflater = {0};
    deflateInit2(&deflater, level, Z_DEFLATED, window, memory, strategy);
    deflater.next_out = packed;
    deflater.avail_out = sizeof packed;
    // In pieces, with every kind of flush.
    static const int flushes[] = {Z_NO_FLUSH, Z_PARTIAL_FLUSH, Z_SYNC_FLUSH, Z_BLOCK, Z_FULL_FLUSH};
    for (int at = 0, piece = 0; at < SIZE; piece++) {
        int size = 30011 < SIZE - at ? 30011 : SIZE - at;
        deflater.next_in = plain + at;
        deflater.avail_in = (unsigned)size;
        at += size;
        deflate(&deflater, at == SIZE ? Z_FINISH : flushes[piece % 5]);
    }
    unsigned long size = deflater.total_out;
    deflateEnd(&deflater);
    inflateInit2(&inflater, window > 15 ? window + 16 : window);
    memset(restored, 0, sizeof restored);
    inflater.next_in = packed;
    inflater.next_out = restored;
    int status = Z_OK;
    while (status == Z_OK && inflater.total_in < size) {
        inflater.avail_in = 4099 < size - inflater.total_in ? 4099 : (unsigned)(size - inflater.total_in);
        inflater.avail_out = (unsigned)(SIZE - inflater.total_out);
        status = inflate(&inflater, Z_NO_FLUSH);
    }
    inflateEnd(&inflater);
    printf("data %d level %d strategy %d window %d: %lu bytes, crc %08lx, %s, status %d\n", kind, level, strategy, window,
           size, crc32(0, packed, (unsigned)size), memcmp(plain, restored, SIZE) ? "DIFFERENT" : "same", status);
}

static unsigned pull(void *at, unsigned char **bytes) {
    (void)at;
    (void)bytes;
    return 0;
}

static int push(void *count, unsigned char *bytes, unsigned size) {
    (void)bytes;
    *(unsigned long *)count += size;
    return 0;
}

static void through_files(void) {
    gzFile file = gzopen("data.gz", "wb6");
    gzbuffer(file, 8192);
    gzprintf(file, "%s %d %.3f\n", "formatted", 42, 2.5);
    gzwrite(file, plain, SIZE);
    gzputs(file, "\nlast line\n");
    gzclose(file);
    char line[64];
    file = gzopen("data.gz", "rb");
    printf("%s", gzgets(file, line, sizeof line));
    int size = gzread(file, restored, SIZE);
    printf("%d bytes, %s\n", size, memcmp(plain, restored, SIZE) ? "DIFFERENT" : "same");
    gzgetc(file);
    printf("%s", gzgets(file, line, sizeof line));
    printf("at %ld, end %d\n", (long)gztell(file), gzeof(file));
    gzclose(file);
    // The header of a gzip file has the time and the system; zlib writes neither by itself.
}

int main(void) {
    printf("zlib %s, flags %lx\n", zlibVersion(), zlibCompileFlags());
    for (int kind = 0; kind < 3; kind++) {
        fill(kind);
        printf("adler %08lx crc %08lx\n", adler32(1, plain, SIZE), crc32(0, plain, SIZE));
        for (int level = 0; level <= 9; level++) stream(kind, level, Z_DEFAULT_STRATEGY, 15, 8);
        for (int strategy = Z_FILTERED; strategy <= Z_FIXED; strategy++) stream(kind, 6, strategy, 15 + 16, 9);
        stream(kind, 9, Z_DEFAULT_STRATEGY, -9, 1);
        uLongf size = sizeof packed, back = SIZE;
        int status = compress2(packed, &size, plain, SIZE, 7);
        packed[size / 2] ^= 0x55;
        printf("%d then damaged: %d\n", status, uncompress(restored, &back, packed, size));
    }
    z_stream dictionary = {0};
    deflateInit(&dictionary, 9);
    deflateSetDictionary(&dictionary, plain, 5000);
    dictionary.next_in = plain;
    dictionary.avail_in = 20000;
    dictionary.next_out = packed;
    dictionary.avail_out = sizeof packed;
    int finished = deflate(&dictionary, Z_FINISH);
    printf("dictionary: %d, %lu bytes\n", finished, dictionary.total_out);
    deflateEnd(&dictionary);
    z_stream back = {0};
    unsigned char window[32768];
    unsigned long count = 0;
    inflateBackInit(&back, 15, window);
    back.next_in = (unsigned char *)"\x4b\x4c\x4a\x06\x00";
    back.avail_in = 5;
    int status = inflateBack(&back, pull, 0, push, &count);
    printf("back: %d, %lu bytes %.3s\n", status, count, window);
    inflateBackEnd(&back);
    printf("combined %08lx\n", crc32_combine(crc32(0, plain, 1000), crc32(0, plain + 1000, SIZE - 1000), SIZE - 1000));
    through_files();
    printf("%s\n", zError(Z_DATA_ERROR));
    return 0;
}
