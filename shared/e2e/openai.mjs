// Uses the unmodified OpenAI SDK for Node against OPENAI_BASE_URL: lists the
// models, streams a chat with the model named in the first argument, and asks
// for one that does not exist.
import OpenAI from 'openai';

const client = new OpenAI({ maxRetries: 0 });
const [model] = process.argv.slice(2);

const ids = [];
for await (const { id } of client.models.list()) {
	ids.push(id);
}
console.log(`models: ${ids.join(' ')}`);

const stream = await client.chat.completions.create({
	model,
	stream: true,
	messages: [{ role: 'user', content: 'hello' }]
});
let text = '';
for await (const chunk of stream) {
	text += chunk.choices[0]?.delta?.content ?? '';
}
console.log(`stream: ${text}`);

try {
	await client.chat.completions.create({
		model: 'nope',
		messages: [{ role: 'user', content: 'hello' }]
	});
} catch (error) {
	console.log(`unknown: ${error.status} ${error.code}`);
}
