#include "core/ids.hpp"

namespace parley::core {

IdGenerator::IdGenerator() {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device(), device(), device(), device(), device()};
    random_.seed(seed);
}

std::string IdGenerator::make(std::string_view prefix) {
    static constexpr char kDigits[] = "0123456789abcdef";
    char digits[32];
    for (int word = 0; word < 2; ++word) {
        auto bits = random_();
        for (int digit = 0; digit < 16; ++digit, bits >>= 4)
            digits[word * 16 + digit] = kDigits[bits & 15];
    }
    std::string id;
    id.reserve(prefix.size() + sizeof digits);
    id.append(prefix).append(digits, sizeof digits);
    return id;
}

} // namespace parley::core
