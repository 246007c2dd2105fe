// The client library of xtalk.

export { createConversation } from "./conversation.ts";
export type {
  AudioListener,
  Conversation,
  ConversationOptions,
  Subscriber,
  Unsubscribe,
} from "./conversation.ts";
export { quantiles, STAGES } from "./state.ts";
export type * from "./state.ts";
