#include "net/inflate.hpp"

#include <gtest/gtest.h>
#include <zlib.h>

#include <string>
#include <string_view>

namespace parley::net {
namespace {

std::string gzip(std::string const& text) {
    z_stream stream{};
    deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 9, Z_DEFAULT_STRATEGY);
    std::string out(deflateBound(&stream, text.size()) + 32, '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    stream.avail_in = static_cast<uInt>(text.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    deflate(&stream, Z_FINISH);
    out.resize(out.size() - stream.avail_out);
    deflateEnd(&stream);
    return out;
}

core::Result<std::string> gunzip(std::string_view bytes, std::size_t bytes_max) {
    Gunzip packed(bytes, bytes_max);
    for (;;) {
        auto const done = packed.step();
        if (!done) return done.error();
        if (*done) return packed.take();
    }
}

TEST(Inflate, ReadsBackWhatWasPacked) {
    auto const text = std::string(200'000, 'x') + "end";
    auto const plain = gunzip(gzip(text), 1 << 20);
    ASSERT_TRUE(plain);
    EXPECT_EQ(*plain, text);
    EXPECT_EQ(*gunzip(gzip(""), 10), "");
}

TEST(Inflate, StepsAreSmall) {
    auto const packed = gzip(std::string(5 << 20, 'x'));
    Gunzip text(packed, 10 << 20);
    auto steps = 1;
    for (auto done = text.step();; done = text.step(), ++steps) {
        ASSERT_TRUE(done);
        if (*done) break;
    }
    EXPECT_GE(steps, 10);
    EXPECT_EQ(text.take().size(), std::size_t{5 << 20});
}

TEST(Inflate, StopsABomb) {
    auto const bomb = gzip(std::string(50 << 20, '\0'));
    auto const plain = gunzip(bomb, 1 << 20);
    ASSERT_FALSE(plain);
    EXPECT_EQ(plain.error().code, core::Errc::kPayloadTooLarge);
}

TEST(Inflate, RefusesWhatIsNotSound) {
    auto const packed = gzip("hello");
    EXPECT_FALSE(gunzip(packed.substr(0, packed.size() - 1), 100));
    EXPECT_FALSE(gunzip(packed + "x", 100));
    EXPECT_FALSE(gunzip("hello", 100));
    EXPECT_FALSE(gunzip("", 100));
}

} // namespace
} // namespace parley::net
