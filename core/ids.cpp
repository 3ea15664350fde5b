#include "core/ids.hpp"

namespace parley::core {

IdGenerator::IdGenerator() {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device(), device(), device(), device(), device()};
    random_.seed(seed);
}

std::string IdGenerator::make(std::string_view prefix) {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string id;
    id.reserve(prefix.size() + 32);
    id.append(prefix);
    for (int word = 0; word < 2; ++word) {
        auto bits = random_();
        for (int digit = 0; digit < 16; ++digit, bits >>= 4)
            id.push_back(kDigits[bits & 15]);
    }
    return id;
}

} // namespace parley::core
