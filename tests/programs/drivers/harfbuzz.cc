// Shapes texts with fonts, on several threads; draws glyphs; throws through the library's frames.
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "hb-ot.h"
#include "hb.h"

namespace {

template <typename T, void (*Destroy)(T *)>
struct Deleter {
    void operator()(T *object) const { Destroy(object); }
};
using Blob = std::unique_ptr<hb_blob_t, Deleter<hb_blob_t, hb_blob_destroy>>;
using Face = std::unique_ptr<hb_face_t, Deleter<hb_face_t, hb_face_destroy>>;
using Font = std::unique_ptr<hb_font_t, Deleter<hb_font_t, hb_font_destroy>>;
using Buffer = std::unique_ptr<hb_buffer_t, Deleter<hb_buffer_t, hb_buffer_destroy>>;
using Draw = std::unique_ptr<hb_draw_funcs_t, Deleter<hb_draw_funcs_t, hb_draw_funcs_destroy>>;

struct MissingFile : std::runtime_error {
    explicit MissingFile(const std::string &name) : std::runtime_error("no file " + name) {}
};

std::string base_name(const std::string &path) { return path.substr(path.rfind('/') + 1); }

struct Task {
    std::string font, text;
    std::vector<hb_feature_t> features;
};

// Counts what it is told to draw, and refuses when there is too much.
class Pen {
public:
    virtual ~Pen() = default;
    virtual void point(float x, float y) { sum_ += x * 3 + y; points_++; }
    int points() const { return points_; }
    double sum() const { return sum_; }

private:
    double sum_ = 0;
    int points_ = 0;
};

class LimitedPen final : public Pen {
public:
    explicit LimitedPen(int limit) : limit_(limit) {}
    void point(float x, float y) override {
        if (points() == limit_) throw std::length_error("more than " + std::to_string(limit_) + " points");
        Pen::point(x, y);
    }

private:
    int limit_;
};

Draw draw_functions() {
    Draw functions(hb_draw_funcs_create());
    auto move = [](hb_draw_funcs_t *, void *pen, hb_draw_state_t *, float x, float y, void *) { static_cast<Pen *>(pen)->point(x, y); };
    hb_draw_funcs_set_move_to_func(functions.get(), move, nullptr, nullptr);
    hb_draw_funcs_set_line_to_func(functions.get(), move, nullptr, nullptr);
    auto curve = [](hb_draw_funcs_t *, void *pen, hb_draw_state_t *, float cx, float cy, float x, float y, void *) {
        static_cast<Pen *>(pen)->point(cx, cy);
        static_cast<Pen *>(pen)->point(x, y);
    };
    hb_draw_funcs_set_quadratic_to_func(functions.get(), curve, nullptr, nullptr);
    return functions;
}

class Shaper {
public:
    explicit Shaper(const std::string &path) {
        std::ifstream file(path, std::ios::binary);
        if (!file) throw MissingFile(base_name(path));
        data_.assign(std::istreambuf_iterator<char>(file), {});
        Blob blob(hb_blob_create(data_.data(), static_cast<unsigned>(data_.size()), HB_MEMORY_MODE_READONLY, nullptr, nullptr));
        face_.reset(hb_face_create(blob.get(), 0));
        font_.reset(hb_font_create(face_.get()));
    }

    hb_font_t *font() const { return font_.get(); }
    hb_face_t *face() const { return face_.get(); }

    std::string shape(const std::string &line, const std::vector<hb_feature_t> &features, bool details) const {
        Buffer buffer(hb_buffer_create());
        hb_buffer_add_utf8(buffer.get(), line.data(), static_cast<int>(line.size()), 0, -1);
        hb_buffer_guess_segment_properties(buffer.get());
        hb_shape(font_.get(), buffer.get(), features.data(), static_cast<unsigned>(features.size()));
        unsigned count = hb_buffer_get_length(buffer.get());
        const hb_glyph_info_t *glyphs = hb_buffer_get_glyph_infos(buffer.get(), nullptr);
        const hb_glyph_position_t *positions = hb_buffer_get_glyph_positions(buffer.get(), nullptr);
        std::ostringstream out;
        long advance = 0;
        unsigned long hash = 5381;
        for (unsigned i = 0; i < count; i++) {
            advance += positions[i].x_advance;
            for (long value : {long(glyphs[i].codepoint), long(glyphs[i].cluster), long(positions[i].x_offset), long(positions[i].y_offset)})
                hash = hash * 33 ^ static_cast<unsigned long>(value);
        }
        out << count << " glyphs, advance " << advance << ", " << std::hex << hash << std::dec;
        if (details && count) {
            char text[4096];
            unsigned used = 0;
            hb_buffer_serialize_glyphs(buffer.get(), 0, count, text, sizeof text, &used, font_.get(), HB_BUFFER_SERIALIZE_FORMAT_TEXT,
                                       HB_BUFFER_SERIALIZE_FLAG_DEFAULT);
            out << ' ' << std::string(text, used);
        }
        return out.str();
    }

private:
    std::vector<char> data_;
    Face face_;
    Font font_;
};

std::string run(const Task &task) {
    std::ostringstream out;
    out << base_name(task.font) << " with " << base_name(task.text) << '\n';
    Shaper shaper(task.font);
    out << hb_face_get_glyph_count(shaper.face()) << " glyphs, " << hb_face_get_upem(shaper.face()) << " units\n";
    std::ifstream text(task.text);
    if (!text) throw MissingFile(base_name(task.text));
    std::map<std::string, int> seen;
    int number = 0;
    for (std::string line; number < 400 && std::getline(text, line); number++) {
        std::string shaped = shaper.shape(line, task.features, number < 8);
        if (number % 20 == 0 || number < 8) out << number << ": " << shaped << '\n';
        seen[shaped]++;
    }
    out << number << " lines, " << seen.size() << " different\n";
    return out.str();
}

void draw(const std::string &path) {
    Shaper shaper(path);
    Draw functions = draw_functions();
    Pen pen;
    for (hb_codepoint_t glyph = 0; glyph < 200; glyph++) hb_font_draw_glyph(shaper.font(), glyph, functions.get(), &pen);
    std::cout << pen.points() << " points, " << std::fixed << pen.sum() << '\n';
    LimitedPen limited(50);
    try {
        for (hb_codepoint_t glyph = 0; glyph < 200; glyph++) hb_font_draw_glyph(shaper.font(), glyph, functions.get(), &limited);
    } catch (const std::exception &problem) {
        std::cout << problem.what() << ", pen " << (dynamic_cast<LimitedPen *>(static_cast<Pen *>(&limited)) ? "limited" : "plain") << '\n';
    }
}

thread_local int tasks_done;

}  // namespace

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    const std::string folder = argv[1];
    std::cout << "HarfBuzz " << hb_version_string() << '\n';
    const std::vector<Task> tasks = {
        {folder + "/fonts/Roboto-Regular.ttf", folder + "/texts/en-thelittleprince.txt", {}},
        {folder + "/fonts/Roboto-Regular.ttf", folder + "/texts/en-words.txt", {{HB_TAG('s', 'm', 'c', 'p'), 1, 0, ~0u}, {HB_TAG('k', 'e', 'r', 'n'), 0, 0, ~0u}}},
        {folder + "/fonts/Amiri-Regular.ttf", folder + "/texts/fa-thelittleprince.txt", {}},
        {folder + "/fonts/NotoNastaliqUrdu-Regular.ttf", folder + "/texts/fa-words.txt", {}},
        {folder + "/fonts/no-such-font.ttf", folder + "/texts/fa-words.txt", {}},
    };
    std::vector<std::string> results(tasks.size());
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < tasks.size(); i++) {
        threads.emplace_back([&, i] {
            try {
                results[i] = run(tasks[i]);
                tasks_done++;
            } catch (const MissingFile &problem) {
                results[i] = std::string(problem.what()) + '\n';
            }
            results[i] += std::to_string(tasks_done) + " done here\n";
        });
    }
    for (auto &thread : threads) thread.join();
    for (const auto &result : results) std::cout << result;
    draw(folder + "/fonts/Roboto-Regular.ttf");
    std::cout << std::flush;
    std::cerr << "done\n";
    return 7;
}
