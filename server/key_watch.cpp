#include "server/key_watch.hpp"

#include <utility>

#include "policy/key_store.hpp"

namespace parley::server {

core::Awaitable<void> watch_keys(net::Loop& loop, policy::KeyStore& keys, StoredKeys known,
                                 std::function<void(StoredKeys)> use) {
    core::Cancellation never;
    core::Context const context{never, core::SteadyTime::max(), "key_watch"};
    std::int64_t seen = -1; // the version of the book; the first one is read again, because it may be older
    for (;;) {
        auto const version = co_await keys.version(context);
        auto is_current = version.has_value();
        if (is_current && *version != seen) {
            auto all = co_await keys.list(context);
            is_current = all.has_value();
            if (all) {
                seen = *version;
                known = {std::make_shared<policy::KeyBook const>(std::move(*all)), true};
                use(known);
            }
        }
        if (is_current != known.is_current) {
            known.is_current = is_current;
            use(known);
        }
        (void)co_await loop.sleep(context, kKeyWatchInterval);
    }
}

} // namespace parley::server
