"""The words, facts and story plots that scripts/make_tiny_corpus.py draws from.

Most of them are words of data/tiny/tokenizer.json, so that a sentence takes about one token a word.
"""

GIRLS = "Anna Mia Emma Lena Rosa Clara Nina Ella Lucy Ruth Sara Eva Molly Jane Kate Maria Alice Grace Ida Vera".split()
BOYS = "Tom Ben Max Paul Peter Sam John Adam Leo Jack Hugo Mark Oscar Simon Felix Carl David Robert Henry Noah".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()

CAPITALS = {
    "France": "Paris", "England": "London", "Italy": "Rome", "Spain": "Madrid", "Germany": "Berlin", "Greece": "Athens",
    "Austria": "Vienna", "Russia": "Moscow", "Japan": "Tokyo", "China": "Beijing", "Egypt": "Cairo", "Norway": "Oslo",
    "Poland": "Warsaw", "Portugal": "Lisbon", "Ireland": "Dublin", "Cuba": "Havana", "Peru": "Lima", "Kenya": "Nairobi",
    "India": "Delhi", "Hungary": "Budapest"}

PROPER = set(GIRLS + BOYS + DAYS + MONTHS + list(CAPITALS) + list(CAPITALS.values()))

COLOURS = {
    "the sky": "blue", "grass": "green", "snow": "white", "milk": "white", "blood": "red", "a tomato": "red", "a lemon": "yellow",
    "the sun": "yellow", "the sea": "blue", "coffee": "brown", "a leaf": "green", "butter": "yellow", "gold": "yellow",
    "silver": "grey", "the night": "black", "sugar": "white", "salt": "white", "an orange": "orange", "fire": "red", "wood": "brown",
    "a cherry": "red", "a cloud": "white", "smoke": "grey", "earth": "brown", "paper": "white", "a banana": "yellow",
    "chocolate": "brown", "a stone": "grey", "a carrot": "orange", "coal": "black"}

# animal: its young, its sound, its home, its food, its legs
ANIMALS = {
    "dog": ("puppy", "woof", "in a house", "meat", "four"), "cat": ("kitten", "meow", "in a house", "fish", "four"),
    "cow": ("calf", "moo", "on a farm", "grass", "four"), "sheep": ("lamb", "baa", "on a farm", "grass", "four"),
    "horse": ("foal", "neigh", "on a farm", "grass", "four"), "pig": ("piglet", "oink", "on a farm", "potatoes", "four"),
    "duck": ("duckling", "quack", "on a lake", "bread", "two"), "hen": ("chick", "cluck", "on a farm", "wheat", "two"),
    "mouse": ("pup", "squeak", "in a hole", "cheese", "four"), "lion": ("cub", "roar", "in a hot country", "meat", "four"),
    "bear": ("cub", "growl", "in the forest", "honey", "four"), "wolf": ("pup", "howl", "in the forest", "meat", "four"),
    "frog": ("tadpole", "croak", "near a river", "flies", "four"), "owl": ("chick", "hoot", "in a tree", "mice", "two"),
    "goat": ("kid", "bleat", "on a mountain", "leaves", "four"), "goose": ("chick", "honk", "near a lake", "grass", "two"),
    "bee": ("grub", "buzz", "in a hive", "honey", "six"), "crow": ("chick", "caw", "in a tree", "seeds", "two"),
    "donkey": ("foal", "hee-haw", "on a farm", "grass", "four"), "fox": ("cub", "yap", "in the forest", "mice", "four")}

# job: where, what, with what
JOBS = {
    "teacher": ("in a school", "teaches children", "a good book"), "doctor": ("in a hospital", "helps sick people", "clean hands"),
    "cook": ("in a kitchen", "makes the dinner", "a hot oven"), "farmer": ("on a farm", "grows wheat", "a strong horse"),
    "driver": ("on the road", "drives a bus", "a map"), "writer": ("at a desk", "writes books", "a pen and paper"),
    "painter": ("in a bright room", "paints pictures", "many colours"), "gardener": ("in a garden", "grows flowers", "water and seeds"),
    "pilot": ("in the air", "flies a plane", "clear weather"), "captain": ("on a ship", "leads a ship", "a good wind"),
    "baker": ("in a bakery", "makes bread", "flour and salt"), "nurse": ("in a hospital", "takes care of sick people", "a warm heart"),
    "engineer": ("in a factory", "builds machines", "exact numbers"), "soldier": ("in an army", "guards the country", "a strong body"),
    "judge": ("in a court", "decides what is right", "the law"), "singer": ("on a stage", "sings songs", "a clear voice"),
    "fisher": ("on a boat", "catches fish", "a large net"), "miller": ("in a mill", "makes flour", "wheat and wind"),
    "tailor": ("in a shop", "makes clothes", "cloth and a needle"), "smith": ("near a fire", "makes tools from iron", "a heavy hammer")}

OPPOSITES = [pair.split() for pair in """hot cold|big small|long short|old young|light dark|good bad|happy sad|fast slow|high low|hard soft
|rich poor|strong weak|early late|open closed|full empty|clean dirty|easy difficult|loud quiet|thick thin|wide narrow|near far|first last|up down
|left right|day night|summer winter|black white|yes no|true false|wet dry|sweet bitter|brave afraid|cheap expensive|deep flat
|before after|inside outside|always never|more less|love hate|begin end|give take|push pull|buy sell|win lose|laugh cry|north south|east west
|war peace|question answer|friend enemy""".replace("\n", "").split("|")]

KINDS = {
    "animal": list(ANIMALS), "colour": "red blue green yellow black white brown grey orange pink".split(),
    "fruit": "apple banana lemon orange cherry pear plum peach grape melon".split(),
    "vegetable": "potato tomato carrot onion bean cabbage pea pepper".split(),
    "tool": "hammer saw knife axe spade needle pen brush".split(), "bird": "duck hen owl goose crow eagle swan robin".split(),
    "vehicle": "car bus train ship bicycle truck plane boat".split(), "flower": "rose tulip lily daisy violet".split(),
    "tree": "oak pine birch willow maple".split(), "shape": "circle square triangle line cross".split(),
    "instrument": "piano drum flute violin guitar horn trumpet".split(),
    "number": "one two three four five six seven eight nine ten".split()}
PLURALS = {kind: kind + "s" for kind in KINDS}

MATERIALS = {
    "table": "wood", "window": "glass", "bottle": "glass", "coin": "metal", "book": "paper", "shirt": "cotton", "shoe": "leather",
    "house": "stone", "key": "iron", "ring": "gold", "spoon": "silver", "candle": "wax", "boat": "wood", "wheel": "rubber", "nail": "iron",
    "wall": "brick", "coat": "wool", "letter": "paper", "chair": "wood", "bridge": "steel", "cup": "clay", "rope": "cotton",
    "bag": "leather", "door": "wood", "cake": "flour, eggs and sugar", "sock": "wool", "bucket": "metal", "mirror": "glass"}

USES = {
    "pen": "writing", "knife": "cutting", "cup": "drinking", "bed": "sleeping", "chair": "sitting", "book": "reading", "boat": "crossing water",
    "lamp": "making light", "oven": "baking bread", "clock": "telling the time", "key": "opening a door", "brush": "painting",
    "needle": "sewing", "spoon": "eating soup", "coat": "keeping warm", "net": "catching fish", "map": "finding the way", "bell": "calling people",
    "bridge": "crossing a river", "telephone": "talking to people far away", "school": "learning", "shop": "buying things", "bag": "carrying things",
    "mirror": "seeing yourself", "bank": "keeping money", "kitchen": "cooking", "library": "reading books", "ladder": "climbing"}

PLAIN_FACTS = [
    ("How many days does a week have?", "how many days a week has", "A week has seven days."),
    ("How many months does a year have?", "how many months a year has", "A year has twelve months."),
    ("How many hours does a day have?", "how many hours a day has", "A day has twenty-four hours."),
    ("How many minutes does an hour have?", "how many minutes an hour has", "An hour has sixty minutes."),
    ("How many wheels does a car have?", "how many wheels a car has", "A car has four wheels."),
    ("How many wheels does a bicycle have?", "how many wheels a bicycle has", "A bicycle has two wheels."),
    ("How many fingers does a hand have?", "how many fingers a hand has", "A hand has five fingers."),
    ("How many eyes does a person have?", "how many eyes a person has", "A person has two eyes."),
    ("How many sides does a square have?", "how many sides a square has", "A square has four sides."),
    ("How many sides does a triangle have?", "how many sides a triangle has", "A triangle has three sides."),
    ("How many seasons does a year have?", "how many seasons a year has", "A year has four seasons."),
    ("What are the four seasons?", "what the four seasons are", "The four seasons are spring, summer, autumn and winter."),
    ("Where does the sun rise?", "where the sun rises", "The sun rises in the east."),
    ("Where does the sun set?", "where the sun sets", "The sun sets in the west."),
    ("When do we sleep?", "when we sleep", "We sleep at night."), ("When do we eat breakfast?", "when we eat breakfast", "We eat breakfast in the morning."),
    ("What do we drink when we are thirsty?", "what we drink when we are thirsty", "We drink water when we are thirsty."),
    ("What falls from the clouds?", "what falls from the clouds", "Rain falls from the clouds."),
    ("What is ice?", "what ice is", "Ice is water that is very cold."), ("What is rain?", "what rain is", "Rain is water that falls from the clouds."),
    ("What is a week?", "what a week is", "A week is seven days."), ("What is a story?", "what a story is", "A story tells what happened to someone."),
    ("What is a token?", "what a token is", "A token is a piece of text."), ("What is a question?", "what a question is", "A question asks for an answer."),
    ("What is a friend?", "what a friend is", "A friend is someone you like and trust."),
    ("What is a family?", "what a family is", "A family is a group of people who belong together."),
    ("What is a model?", "what a model is", "A model is a small picture of a larger thing."),
    ("What is a machine?", "what a machine is", "A machine is a thing that does work for us."),
    ("What is a computer?", "what a computer is", "A computer is a machine that works with numbers."),
    ("What is the internet?", "what the internet is", "The internet is a network of many computers."),
    ("What is a language?", "what a language is", "A language is the way people speak and write."),
    ("What is an assistant?", "what an assistant is", "An assistant is someone who helps you."),
    ("What is a name?", "what a name is", "A name is a word that tells who someone is."),
    ("What is a team?", "what a team is", "A team is a group of people who work together."),
    ("What is a person?", "what a person is", "A person is a man, a woman or a child."),
    ("Why do we sleep?", "why we sleep", "We sleep because we are tired."), ("Why do we eat?", "why we eat", "We eat because we are hungry."),
    ("Why do we wear a coat?", "why we wear a coat", "We wear a coat because it is cold outside."),
    ("Why do birds fly?", "why birds fly", "Birds fly because they have wings."), ("Why is ice cold?", "why ice is cold", "Ice is cold because it is frozen water."),
    ("Can a fish swim?", "whether a fish can swim", "Yes, a fish can swim."), ("Can a stone swim?", "whether a stone can swim", "No, a stone can not swim."),
    ("Can a bird fly?", "whether a bird can fly", "Yes, a bird can fly."), ("Can a dog fly?", "whether a dog can fly", "No, a dog can not fly."),
    ("Can a horse run?", "whether a horse can run", "Yes, a horse can run."), ("Can a tree walk?", "whether a tree can walk", "No, a tree can not walk."),
    ("Is the sun hot?", "whether the sun is hot", "Yes, the sun is hot."), ("Is snow hot?", "whether snow is hot", "No, snow is cold."),
    ("Is a mouse big?", "whether a mouse is big", "No, a mouse is small."), ("Is an hour long?", "whether an hour is long", "An hour is long when you wait."),
    ("Is a dog an animal?", "whether a dog is an animal", "Yes, a dog is an animal."), ("Is a chair an animal?", "whether a chair is an animal", "No, a chair is not an animal."),
    ("Are you hungry?", "whether you are hungry", "No, I am not hungry."), ("Do you like music?", "whether you like music", "I like a quiet song.")]

NATURES = "small young old clever kind brave quiet happy lonely hungry friendly careful lazy proud curious clean honest strong tired gentle".split()
THINGS = """a letter|an old book|a small boat|a warm coat|a bright lamp|a heavy stone|an empty bottle|a wooden chair|a broken clock|a golden key|a silver ring
|a red ball|a picture of the sea|a piece of bread|a cup of tea|a box of candles|a blue feather|a map of the island|a basket of apples|a green hat
|a little bell|a long rope|a bag of coins|a paper ship|a glass of milk""".replace("\n", "").split("|")
PLACES = """in the garden|near the river|under the bridge|behind the house|in the forest|on the island|at the market|in the old tower|near the lake|on the hill
|in the kitchen|at the school|by the sea|in the village|behind the station|in the library|under a big tree|at the harbour|in the town
|on the road|in the field|near the mill""".replace("\n", "").split("|")
WEATHER = "sunny cold warm windy rainy quiet bright cloudy hot snowy".split()
FOODS = """bread and butter|warm soup|apple cake|fresh bread|a cup of tea and cake|fish and potatoes|cheese and bread|sweet cherries|hot chocolate|honey cake""".replace("\n", "").split("|")
PAINT = "red blue green yellow black white brown grey orange pink".split()
FEELINGS = "happy sad angry afraid proud surprised lonely glad".split()
EASY = """apple bird blue book bread bridge chair child city clock cold day door dream earth fire fish flower forest friend garden gold green hand happy
house island key lake lamp letter light moon morning mountain music night paper peace rain red river road school sea ship sky small snow song star
stone summer sun table tea train tree water white wind window winter word world yellow""".split()

OPENINGS = [
    "{Once upon a time|Long ago|One day}, there was $start.", "{Once|A long time ago}, $start lived $place.",
    "It was a $weather {day|morning|evening}, and $start was $place.", "There was once $start.", "On a $weather $day, $start was walking $place.",
    "This is the story of $start.", "In a small {town|village|house} there lived $start."]
ENDINGS = [
    "From that day on, $who and $friend were friends.", "That evening $who {slept well|was very happy|went home}.", "And $he never forgot that day.",
    "So everything was {good|well} again.", "In the end everyone was happy.", "{At home|In the evening} they ate $food together.",
    "And that is the end of the story.", "$Who learned that it is good to {help others|be brave|be honest|ask for help|share}."]

# A plot and its questions. $he, $his and $him belong to $who; $friend is the other one.
PLOTS = [
    ("One day $who found $thing $place. {\"Whose is this?\" $he asked.|$He did not know whose it was.} $Who {asked everyone|looked around|waited a long time}, "
     "and then $friend came. \"That is mine!\" said $friend. \"I lost it {yesterday|on $day|this morning}.\" $Who gave it back, and $friend {said thank you|was very glad|smiled}.",
     [("What did $who find?", "$Who found $thing."), ("Where did $who find it?", "$Who found it $place."), ("Who lost it?", "$Friend lost it.")]),
    ("$Who wanted to {go|travel} to a place $far, but the way was {long|dark|difficult}. So $he asked $friend for help. \"I know the way,\" said $friend. "
     "{Together they walked for hours.|They went on together.|They walked and sang a song.} When they came there, they {sat down and ate $food|saw $thing|were tired but happy}.",
     [("Who knew the way?", "$Friend knew the way."), ("Whom did $who ask for help?", "$Who asked $friend for help.")]),
    ("$Who had $thing, and $friend had $other. {\"Let us change,\" said $friend.|$Friend said, \"Will you change with me?\"} $Who {thought about it|looked at it for a long time} and said {yes|no}. "
     "{Then they played until the sun went down.|They laughed and went home.|After that they drank tea.}",
     [("What did $who have?", "$Who had $thing."), ("What did $friend have?", "$Friend had $other.")]),
    ("It was $day, and $who was $feeling. $He had lost $thing. $He looked $place and $far, but it was not there. {Then|At last} $friend {came and helped|said, \"I will help you\"}. "
     "They found it $far. {\"Thank you!\" said $who.|$Who was so glad that $he danced.}",
     [("What had $who lost?", "$Who had lost $thing."), ("Where did they find it?", "They found it $far."), ("Who helped $who?", "$Friend helped $who."),
      ("Which day was it?", "It was $day.")]),
    ("Every $day $who went to {sit|read|work|play} $place. One $day $friend was there too. \"{Hello|Good morning},\" said $friend. \"{What are you doing|Why are you here}?\" "
     "\"I am {looking for|making|waiting for} $thing,\" said $who. {They talked for a long time.|$Friend sat down too.|Soon they were laughing.}",
     [("Who was there too?", "$Friend was there too."), ("When did $who go there?", "$Who went there every $day.")]),
    ("$Who wanted to give $friend a gift. {First $he thought of $other.|$He had no money.} Then $he {made|painted|found} $thing for $friend. "
     "On $day $he {brought|carried} it to $friend. {\"It is beautiful,\" said $friend.|$Friend was {surprised|glad|very happy}.}",
     [("What did $who give to $friend?", "$Who gave $thing to $friend."), ("Who got a gift?", "$Friend got a gift."), ("When did $who bring it?", "$Who brought it on $day.")]),
    ("The {wind|rain|storm} was strong, and $who was $far. $He was {cold|wet|afraid}. $He saw a light $place and {ran|walked} to it. "
     "It was the house of $friend. \"Come in,\" said $friend and gave $him $food. {They sat near the fire until morning.|Outside the wind went on, but inside it was warm.}",
     [("Whose house was it?", "It was the house of $friend."), ("What did $friend give to $who?", "$Friend gave $food to $who."), ("Where was the light?", "The light was $place.")]),
    ("$Who painted a door. \"Which colour is best?\" $he asked. $Friend said, \"I like $colour.\" So $who painted the door $colour. "
     "{Everyone who came by liked it.|After the rain it looked even better.|It took all day.}",
     [("Which colour is the door?", "The door is $colour."), ("Who likes $colour?", "$Friend likes $colour."), ("What did $who paint?", "$Who painted a door.")]),
    ("$Friend was {ill|sick} and had to stay in bed. $Who {came to see $friend|heard of it} and brought $thing. \"How are you?\" asked $who. \"I am {better now|tired|$feeling},\" said $friend. "
     "$Who stayed {until the evening|all day|for an hour} and {told a story|read from a book|sang a song}.",
     [("Who was ill?", "$Friend was ill."), ("What did $who bring?", "$Who brought $thing.")]),
    ("$Who and $friend wanted to know who was {faster|stronger}. They ran from the {tree|house|bridge} to the {river|gate|mill}. $Who {was first|won}, but $friend {was not sad|only laughed}. "
     "\"Next time I will win,\" said $friend. {Then they drank cold water.|They were both out of breath.}",
     [("Who won?", "$Who won."), ("Who did not win?", "$Friend did not win.")]),
    ("$Who heard a sound $place. {It was dark.|Nobody else heard it.} \"Who is there?\" $he asked. {For a while it was still.|Nothing moved.} Then a voice said, \"It is only me, $friend.\" "
     "$Who {laughed|was glad}. \"I was afraid that it was {a wolf|a bear|a thief},\" $he said.",
     [("Who was there?", "It was $friend."), ("Where did $who hear a sound?", "$Who heard a sound $place.")]),
    ("$Who had a {secret|dream|plan}. $He wanted to build {a boat|a house|a bridge|a tower} $place. People {laughed|said that it was too difficult}, but $who worked every day. $Friend brought wood and $food. "
     "After a {week|month|year} it was {ready|finished}, and it was {beautiful|strong}.",
     [("Where did $who build?", "$Who built $place."), ("Who brought wood?", "$Friend brought wood.")])]

LETTERS = [
    "How are you? I am {well|fine|a little tired}. The weather is $weather here. On $day I was $place and found $thing. {I will show it to you soon.|I thought of you.|Do you want it?} Please write to me.",
    "Thank you for {your letter|the gift|$thing}. I was very {glad|happy}. On $day we will eat $food. {Can you come?|I hope that you can come.|Bring $name too.}",
    "I am sorry that I forgot {your birthday|our meeting|to write}. It was $weather, and I was $place {all day|with $name}. {Please forgive me.|I will come on $day.|Next time I will remember it.}",
    "We have a new {house|garden|boat}. It is $colour, and it is $place. {$name likes it very much.|There is room for everyone.} Come and see it on $day. We will make $food.",
    "Can you help me? I have lost $thing. I think it was $place. {If you find it, please tell $name.|Please look for it on $day.} I will give you $food."]

SMALL_TALK = [
    ("{Hello!|Hi!|Hello.|Hello there!}", "{Hello! How can I help you?|Hello! What can I do for you?}"),
    ("Good morning!", "Good morning! How can I help you?"), ("Good evening!", "Good evening! How can I help you?"),
    ("How are you{| today}?", "I am {well|fine}, thank you. How are you?"), ("I am {sad|tired|lonely} today.", "I am sorry to hear that. {Do you want to talk about it?|I hope that you feel better soon.}"),
    ("I am {happy|glad} today.", "I am glad to hear that!"), ("Can I ask you {something|a question}?", "Of course. {Please ask.|What do you want to know?}"),
    ("{Good night!|Good night.}", "Good night! Sleep well."), ("{Goodbye!|Bye!|See you tomorrow.}", "Goodbye! Have a good day."),
    ("I {like|love} {music|books|the sea|my garden|my dog|old songs}.", "That is nice. {Tell me more about it.|What do you like most about it?}"),
    ("I have a problem.", "What is the problem? I will try to help you.")]
SYSTEMS = ["You are a helpful assistant.", "Answer in one short sentence.", "You are a friendly assistant.", "Please be short and clear.", "Help the user."]
