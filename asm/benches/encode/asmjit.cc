// asmjit's x86::Assembler, which checks no operands beyond what it needs to encode them.
//
// Reads rounds from the file that it is given and commands from standard input: `mix N` and `labels N` assemble that
// often and answer with the nanoseconds of processor time, `bytes` answers with those of the mix, in hexadecimal.
#include <asmjit/x86.h>
#include <time.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

using namespace asmjit;

namespace {

struct Round {
    uint8_t r[4];
    uint8_t x[3];
    int8_t small;
    int32_t large;
};

x86::Gp g64(uint8_t n) { return x86::gpq(n); }
x86::Gp g32(uint8_t n) { return x86::gpd(n); }

void mix_round(x86::Assembler& a, const Round& round) {
    const uint8_t* r = round.r;
    x86::Xmm x = x86::xmm(round.x[0]), y = x86::xmm(round.x[1]), z = x86::xmm(round.x[2]);
    a.mov(g64(r[0]), g64(r[1]));
    a.mov(g64(r[1]), x86::qword_ptr(g64(r[2]), round.small));
    a.mov(x86::qword_ptr(g64(r[3]), round.large), g64(r[0]));
    a.add(g64(r[0]), round.small);
    a.sub(g64(r[1]), round.large);
    a.lea(g64(r[2]), x86::ptr(g64(r[0]), g64(r[1]), 2, round.small));
    a.xor_(g32(r[3]), g32(r[3]));
    a.cmp(g64(r[0]), g64(r[2]));
    a.test(g32(r[1]), g32(r[3]));
    a.push(g64(r[0]));
    a.pop(g64(r[1]));
    a.movzx(g32(r[0]), x86::byte_ptr(g64(r[1])));
    a.imul(g64(r[2]), g64(r[3]));
    a.shl(g64(r[0]), 3);
    a.cmovl(g64(r[1]), g64(r[0]));
    a.mov(g32(r[2]), round.large);
    a.movsd(x, x86::qword_ptr(g64(r[0]), round.small));
    a.addsd(y, z);
    a.vaddps(x, y, z);
    a.sete(x86::gpb(r[3]));
}

void labels_round(x86::Assembler& a, const Round& round) {
    const uint8_t* r = round.r;
    Label again = a.newLabel(), done = a.newLabel();
    a.bind(again);
    a.cmp(g64(r[0]), g64(r[1]));
    a.je(done);
    a.mov(g64(r[2]), x86::qword_ptr(g64(r[0]), round.small));
    a.add(g64(r[2]), g64(r[1]));
    a.test(g64(r[2]), g64(r[2]));
    a.jne(again);
    a.sub(g64(r[0]), round.small);
    a.jmp(again);
    a.bind(done);
    a.nop();
}

using OneRound = void (*)(x86::Assembler&, const Round&);

std::vector<uint8_t> assemble(OneRound one, const std::vector<Round>& rounds, bool copy) {
    CodeHolder code;
    code.init(Environment(Arch::kX64));
    x86::Assembler a(&code);
    for (const Round& round : rounds) one(a, round);
    code.flatten();
    code.resolveUnresolvedLinks();
    const CodeBuffer& buffer = code.textSection()->buffer();
    return copy ? std::vector<uint8_t>(buffer.data(), buffer.data() + buffer.size()) : std::vector<uint8_t>();
}

long long now() {
    timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

}  // namespace

int main(int, char** arguments) {
    std::vector<Round> rounds;
    FILE* file = fopen(arguments[1], "rb");
    if (file == nullptr) return 1;
    for (Round round; fread(&round, sizeof round, 1, file) == 1;) rounds.push_back(round);
    char word[16];
    while (scanf("%15s", word) == 1) {
        if (strcmp(word, "bytes") == 0) {
            for (uint8_t byte : assemble(mix_round, rounds, true)) printf("%02x", byte);
            printf("\n");
        } else {
            OneRound one = strcmp(word, "mix") == 0 ? mix_round : labels_round;
            long long times = 0;
            if (scanf("%lld", &times) != 1) return 1;
            long long start = now();
            while (times-- > 0) assemble(one, rounds, false);
            printf("%lld\n", now() - start);
        }
        fflush(stdout);
    }
}
