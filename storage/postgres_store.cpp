// Postgres for the whole process: two connections for each loop, so that no read waits behind a commit.
#include <utility>

#include "storage/postgres_link.hpp"
#include "storage/schema.hpp"
#include "storage/store.hpp"

namespace parley::storage {
namespace {

constexpr std::size_t kConnectingThreads = 2;

class PostgresDatabase final : public Database {
public:
    PostgresDatabase(net::Loop& loop, boost::asio::thread_pool& pool, PostgresOptions const& options,
                     PostgresHealth& health)
        : loop_(loop),
          reader_(loop, pool, options, health, PostgresLink::Use::kRead),
          writer_(loop, pool, options, health, PostgresLink::Use::kWrite) {}

    core::Task<std::vector<Rows>> read(core::Context const& context, Batch batch) override {
        return through(reader_, context, std::move(batch));
    }

    core::Task<std::vector<Rows>> write(core::Context const& context, Batch batch) override {
        return through(writer_, context, std::move(batch));
    }

private:
    core::Task<std::vector<Rows>> through(PostgresLink& link, core::Context const& context, Batch batch) {
        auto const waiting = std::make_shared<Waiting>(loop_);
        link.add(waiting, std::move(batch));
        co_return co_await Waiting::wait(waiting, loop_, context);
    }

    net::Loop& loop_;
    PostgresLink reader_;
    PostgresLink writer_;
};

class PostgresStore final : public Store {
public:
    PostgresStore(PostgresOptions options, std::string name)
        : options_(std::move(options)), name_(std::move(name)), pool_(kConnectingThreads) {}

    ~PostgresStore() override { pool_.join(); }

    /// Errors: kInvalidValue for a schema that is newer than this program; an outage is none.
    core::Result<> look() {
        auto const connection = PostgresConnection::connect(options_);
        health_.report(connection ? std::string() : connection.error().detail);
        if (!connection && connection.error().code == core::Errc::kInvalidValue) return connection.error();
        return {};
    }

    std::unique_ptr<Database> face(net::Loop& loop) override {
        return std::make_unique<PostgresDatabase>(loop, pool_, options_, health_);
    }

    StoreState state() const override {
        auto reason = health_.reason();
        auto const ready = reason.empty();
        return {"postgres", name_, ready, std::move(reason), ready ? static_cast<int>(migrations().size()) : 0};
    }

    void close() override { pool_.join(); }

private:
    PostgresOptions const options_;
    std::string const name_;
    PostgresHealth health_;
    boost::asio::thread_pool pool_;
};

} // namespace

core::Result<std::unique_ptr<Store>> open_postgres(PostgresOptions options) {
    auto name = PostgresConnection::describe(options.dsn);
    if (!name) return name.error();
    auto store = std::make_unique<PostgresStore>(std::move(options), std::move(*name));
    auto const looked = store->look();
    if (!looked) {
        auto error = looked.error();
        error.message = "The store " + store->state().name + " cannot be used: " + error.message;
        return error;
    }
    return std::unique_ptr<Store>(std::move(store));
}

} // namespace parley::storage
