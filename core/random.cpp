#include "core/random.hpp"

#include <cerrno>
#include <system_error>

#include <sys/random.h>

namespace parley::core {

std::string random_bytes(std::size_t n) {
    std::string bytes(n, '\0');
    for (std::size_t got = 0; got < n;) {
        auto const more = ::getrandom(bytes.data() + got, n - got, 0);
        if (more < 0 && errno != EINTR) throw std::system_error(errno, std::generic_category(), "getrandom");
        if (more > 0) got += static_cast<std::size_t>(more);
    }
    return bytes;
}

} // namespace parley::core
