// The face of a model: what agents/ sees of this room. A Provider is immutable and shared by all loops; what a loop
// owns (connections) is in its Session.
#pragma once

#include <boost/json/object.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chat/run_event.hpp"
#include "chat/turn.hpp"
#include "core/context.hpp"
#include "core/task.hpp"

namespace parley::providers {

class ModelHealth; // providers/model_health.hpp
class Session;     // one per loop: connection pools (providers/session.hpp)

/// What an agent fixes about its model. Serialised once, when the configuration is loaded.
struct ModelSpec {
    std::string model;            // the provider's name for it (Azure: the deployment)
    std::string system_prompt;    // empty = none
    boost::json::object settings; // model_settings: defaults that a request may override
    std::string tools;            // JSON array of the agent's own tools, OpenAI function form; empty = none
};

/// A ModelSpec in the provider's own bytes. Made by Provider::prepare, understood only by that provider.
class PreparedModel {
public:
    virtual ~PreparedModel() = default;
};

/// The answer of one model call, read in batches.
class ModelStream {
public:
    virtual ~ModelStream() = default;

    /// Appends what has arrived to `events`; waits until there is something. false = the answer is complete
    /// (events may still have been appended). Views are valid until the next call or co_await.
    /// Errors: upstream faults, kCancelled, kDeadlineExceeded. After an error or false it must not be called again.
    virtual core::Task<bool> next(std::vector<chat::RunEvent>& events) = 0;
};

class Provider {
public:
    virtual ~Provider() = default;

    virtual std::string_view name() const noexcept = 0; // as in the configuration
    virtual std::string_view type() const noexcept = 0; // openai, azure_openai, ...

    virtual std::unique_ptr<PreparedModel const> prepare(ModelSpec const& spec) const = 0;

    /// How the model has been answering. nullptr for a provider that is never away (demo): nothing is retried there.
    virtual ModelHealth* health(PreparedModel const&) const noexcept { return nullptr; }

    /// How often a model call that failed at all candidates may be made again; see agents/model_call.hpp.
    virtual int max_retries() const noexcept { return 0; }

    /// Sends the request to the endpoint that looks best and waits for the head of the answer. Retries nothing: that is
    /// the caller's decision.
    /// Errors: those of the provider, mapped; a plain HTTP error of the provider arrives here, not in next().
    virtual core::Task<std::unique_ptr<ModelStream>> start(Session& session, core::Context const& context,
                                                           PreparedModel const& model,
                                                           chat::Turn const& turn) const = 0;

    /// Passes an embeddings request through; returns the provider's JSON answer.
    /// `body_rest` is the request's members but `model`, as JSON members without the braces (may be empty).
    virtual core::Task<std::string> embed(Session& session, core::Context const& context, std::string_view model,
                                          std::string_view body_rest) const = 0;
};

} // namespace parley::providers
