// For each number on standard input, loads and unloads an object with LLJIT as often, and prints what each took: CPU
// nanoseconds of the thread.
#include <time.h>

#include <cstdint>
#include <cstdio>
#include <iostream>
#include <utility>
#include <vector>

#include "llvm/Config/llvm-config.h"
#include "llvm/ExecutionEngine/Orc/ExecutionUtils.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/TargetSelect.h"

using namespace llvm;
using namespace llvm::orc;

static ExitOnError Check;

static int64_t cpu_time() {
    timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * 1000000000ll + now.tv_nsec;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    InitializeNativeTarget();
    auto jit = Check(LLJITBuilder().setPlatformSetUp(setUpInactivePlatform).create());
    JITDylib &library = jit->getMainJITDylib();
    library.addGenerator(
        Check(DynamicLibrarySearchGenerator::GetForCurrentProcess(jit->getDataLayout().getGlobalPrefix())));
    auto file = MemoryBuffer::getFile(argv[1]);
    if (!file) return 1;
    std::printf("LLJIT %s\n", LLVM_VERSION_STRING);
    std::fflush(stdout);
    std::vector<std::pair<int64_t, int64_t>> times;
    for (int count; std::cin >> count;) {
        times.clear();
        for (int i = 0; i < count; i++) {
            auto object = MemoryBuffer::getMemBuffer((*file)->getMemBufferRef(), false);
            int64_t start = cpu_time();
            auto tracker = library.createResourceTracker();
            Check(jit->addObjectFile(tracker, std::move(object)));
            Check(jit->lookup(argv[2]));
            int64_t loaded = cpu_time();
            Check(tracker->remove());
            times.emplace_back(loaded - start, cpu_time() - loaded);
        }
        for (auto [load, unload] : times)
            std::printf("%lld %lld\n", static_cast<long long>(load), static_cast<long long>(unload));
        std::fflush(stdout);
    }
}
