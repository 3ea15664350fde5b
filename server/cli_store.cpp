#include "server/cli_store.hpp"

#include <boost/asio/co_spawn.hpp>

#include <optional>
#include <utility>

#include "server/app_store.hpp"
#include "server/cli.hpp"
#include "server/cli_parts.hpp"

namespace parley::server {

std::unique_ptr<storage::Store> open_named_store(Flags const& flags, MissingStore missing) {
    auto prepared = prepare(flags);
    if (!prepared) return nullptr;
    if (missing == MissingStore::kRefuse && !store_exists(prepared->first)) {
        complain("there is no store in " + prepared->first.data_dir +
                 " (--data names its folder, DATABASE_URL a database)");
        return nullptr;
    }
    prepared->first.log.level = core::LogLevel::kError;
    auto store = open_store(prepared->first);
    if (!store) {
        complain(store.error().message);
        return nullptr;
    }
    return std::move(*store);
}

int with_store(Flags const& flags, StoreWork const& work, MissingStore missing) {
    auto const store = open_named_store(flags, missing);
    if (!store) return kExitFault;
    net::Loop loop({core::LogLevel::kError, core::LogFormat::kText, 2, false, false});
    auto const database = store->face(loop);
    core::Cancellation never;
    core::Context const context{never};
    std::optional<core::Result<>> outcome;
    auto ended = [&](std::exception_ptr failure, core::Result<> result) {
        outcome = failure ? core::Result<>(core::make_error(core::Errc::kInternal, "an internal error")) : result;
        loop.stop();
    };
    boost::asio::co_spawn(loop.context(), work(context, *database), std::move(ended));
    loop.run();
    store->close();
    if (outcome && *outcome) return kExitOk;
    auto const& error = outcome->error();
    complain(error.detail.empty() ? error.message : error.message + " (" + error.detail + ")");
    return kExitFault;
}

} // namespace parley::server
