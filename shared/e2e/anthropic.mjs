// Uses the unmodified SDK of Anthropic for Node against ANTHROPIC_BASE_URL: lists the
// models, chats with the model named in the first argument, whole and streamed, counts the
// tokens of a question, leaves in the middle of an answer, and asks for a model that does not
// exist.
import Anthropic from '@anthropic-ai/sdk';

const client = new Anthropic({ maxRetries: 0 });
const [model] = process.argv.slice(2);
const question = { model, max_tokens: 64, messages: [{ role: 'user', content: 'hello' }] };

const ids = [];
for await (const { id } of client.models.list()) {
	ids.push(id);
}
console.log(`models: ${ids.join(' ')}`);

const message = await client.messages.create({ ...question, system: 'be kind' });
console.log(`message: ${message.role} ${message.stop_reason} ${message.content[0].text}`);
console.log(`usage: ${message.usage.input_tokens > 0} ${message.usage.output_tokens > 0}`);

const stream = client.messages.stream(question);
let text = '';
stream.on('text', (piece) => (text += piece));
const final = await stream.finalMessage();
console.log(`stream: ${text === final.content[0].text} ${final.stop_reason} ${text}`);

const { input_tokens } = await client.messages.countTokens({ model, messages: question.messages });
console.log(`count: ${input_tokens > 0}`);

const left = client.messages.stream(question);
left.on('error', () => {}); // it was left
for await (const event of left) {
	if (event.type === 'content_block_delta') {
		left.abort();
		break;
	}
}
console.log(`left: ${left.controller.signal.aborted}`);

for (const wrong of [
	{ ...question, model: 'nope' },
	{ ...question, max_tokens: 0 }
]) {
	try {
		await client.messages.create(wrong);
	} catch (error) {
		console.log(`error: ${error.status} ${error.error?.error?.type} ${Boolean(error.requestID)}`);
	}
}
