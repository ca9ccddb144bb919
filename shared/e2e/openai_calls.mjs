// Uses the unmodified OpenAI SDK for Node against OPENAI_BASE_URL, with the model named in the
// first argument: tokens are counted, tools are called, embeddings made; a stream of
// ENDLESS_MODEL is left in its middle; the engine of BREAKING_MODEL breaks off within an event;
// and what is wrong becomes the SDK's own errors.
import OpenAI from 'openai';

const client = new OpenAI({ maxRetries: 0 });
const [model] = process.argv.slice(2);
const question = { model, messages: [{ role: 'user', content: 'hello' }] };

const answer = await client.chat.completions.create(question);
const { prompt_tokens: prompt, completion_tokens: completion, total_tokens: total } = answer.usage;
console.log(`usage: ${prompt > 0 && completion > 0 && total === prompt + completion}`);

let text = '';
let counted;
for await (const chunk of await client.chat.completions.create({
	...question,
	stream: true,
	stream_options: { include_usage: true }
})) {
	text += chunk.choices[0]?.delta?.content ?? '';
	counted = chunk.usage ?? counted;
}
console.log(`streamed: ${counted.completion_tokens === completion} ${text}`);

// The SDK runs the whole loop: the model's call, the tool, its result, the model's answer.
for (const stream of [false, true]) {
	let calls = 0;
	const runner = client.chat.completions.runTools({
		...question,
		stream,
		tools: [
			{
				type: 'function',
				function: {
					name: 'machine',
					description: 'tells about the machine',
					parameters: { type: 'object', properties: {} },
					parse: JSON.parse,
					function: () => `call ${++calls}`
				}
			}
		]
	});
	console.log(`tools: ${calls === 0} ${await runner.finalContent()} ${calls}`);
}

const vectors = await client.embeddings.create({
	model,
	input: ['a', 'b'],
	encoding_format: 'float'
});
console.log(
	`embeddings: ${vectors.data.length} ${vectors.data.every((v) => v.embedding.length > 1 && v.embedding.every(Number.isFinite))}`
);

const endless = await client.chat.completions.create({
	...question,
	model: process.env.ENDLESS_MODEL,
	stream: true
});
let seen = 0;
for await (const chunk of endless) {
	seen += chunk.choices.length;
	if (seen > 2) {
		endless.controller.abort();
	}
}
console.log(`left: ${seen > 2}`);

let half = '';
try {
	for await (const chunk of await client.chat.completions.create({
		...question,
		model: process.env.BREAKING_MODEL,
		stream: true
	})) {
		half += chunk.choices[0]?.delta?.content ?? '';
	}
	console.log('no error');
} catch (error) {
	console.log(
		`broken: ${half} ${error.constructor.name} ${error.code} ${error.message.includes('broke off its answer')}`
	);
}

const headers = { 'X-Request-Id': 'mine' };
for (const wrong of [
	() => client.chat.completions.create({ ...question, model: 'nope' }, { headers }),
	() => client.chat.completions.create({ ...question, model: 'nope', stream: true }, { headers }),
	() => client.chat.completions.create({ ...question, messages: [] }, { headers }),
	() =>
		client.post('/chat/completions', {
			body: '{"model":',
			headers: { ...headers, 'content-type': 'application/json' }
		}),
	() => client.models.retrieve('nope', { headers }),
	() =>
		client.chat.completions.create(
			{ ...question, model: process.env.COLD_MODEL },
			{ headers: { ...headers, 'X-Orchion-Timeout': '0' } }
		)
]) {
	try {
		await wrong();
		console.log('no error');
	} catch (error) {
		console.log(
			`error: ${error.constructor.name} ${error.status} ${error.code} ${error.requestID}`
		);
	}
}
