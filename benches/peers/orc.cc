// LLVM ORC's indirect stubs, for stubs.rs; and what becomes of a thread that calls through one while its target is
// replaced and removed.
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>

#include "llvm/Config/llvm-config.h"
#include "llvm/ExecutionEngine/Orc/ExecutionUtils.h"
#include "llvm/ExecutionEngine/Orc/IndirectionUtils.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/TargetParser/Host.h"

using namespace llvm;
using namespace llvm::orc;

static ExitOnError Check;

static std::unique_ptr<IndirectStubsManager> make_stubs() {
    return createLocalIndirectStubsManagerBuilder(Triple(sys::getProcessTriple()))();
}

static uint64_t make_stub(IndirectStubsManager &stubs, const char *name, uint64_t target) {
    Check(stubs.createStub(name, ExecutorAddr(target), JITSymbolFlags::Exported));
    return stubs.findStub(name, true).getAddress().getValue();
}

static IndirectStubsManager &all_stubs() {
    static auto stubs = make_stubs();
    return *stubs;
}

extern "C" const char *orc_version() { return LLVM_VERSION_STRING; }

extern "C" uint64_t orc_stub(const char *name, uint64_t target) { return make_stub(all_stubs(), name, target); }

extern "C" void orc_retarget(const char *name, uint64_t target) {
    Check(all_stubs().updatePointer(name, ExecutorAddr(target)));
}

static std::atomic<long> replacements, called;

static void report(const char *how) {
    char text[200];
    int size = std::snprintf(text, sizeof text, "%s after %ld replacements and %ld calls\n", how, replacements.load(),
                             called.load());
    if (write(1, text, size) != size) _exit(3);
}

static void faulted(int) {
    report("SIGSEGV");
    _exit(1);
}

// Alternates between two objects that define functions of the given names, for so many seconds.
extern "C" void orc_race(const char *const files[2], const char *const names[2], double seconds) {
    signal(SIGSEGV, faulted);
    signal(SIGBUS, faulted);
    signal(SIGILL, faulted);
    InitializeNativeTarget();
    auto jit = Check(LLJITBuilder().setPlatformSetUp(setUpInactivePlatform).create());
    JITDylib &library = jit->getMainJITDylib();
    auto stubs = make_stubs();
    ResourceTrackerSP current;
    int turn = 0;
    auto load = [&] {
        auto file = MemoryBuffer::getFile(files[turn]);
        if (!file) std::abort();
        auto tracker = library.createResourceTracker();
        Check(jit->addObjectFile(tracker, std::move(*file)));
        uint64_t address = Check(jit->lookup(names[turn])).getValue();
        turn = 1 - turn;
        return std::make_pair(tracker, address);
    };
    auto [first, address] = load();
    current = first;
    auto stub = reinterpret_cast<int (*)(int)>(make_stub(*stubs, "f", address));
    std::atomic<bool> stop = false;
    std::thread caller([&] {
        while (!stop) {
            if (stub(41) != 42) report("a wrong result"), _exit(2);
            called.fetch_add(1, std::memory_order_relaxed);
        }
    });
    auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    while (std::chrono::steady_clock::now() < end) {
        auto [next, address] = load();
        Check(stubs->updatePointer("f", ExecutorAddr(address)));
        Check(current->remove());
        current = next;
        replacements++;
    }
    stop = true;
    caller.join();
    report("no failure");
}
