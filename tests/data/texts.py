"""The words of the sample documents: written for deckle, CC0. make.py lays them out."""

TEXTS = {
    "handbook": {
        "header": "Harbour House Handbook",
        "title": "Harbour House Handbook",
        "subtitle": "For volunteers at the museum, the workshops and the quay",
        "welcome": [
            "Harbour House has stood at the end of the Long Quay since 1874. It was built as a rope store, served as a lifeboat station for sixty years and has been a museum of small boats since 1996. Some forty volunteers keep it open: they welcome visitors, repair bicycles, look after the bees on the roof and keep an eye on the moorings.",
            "This handbook tells you what you need in your first weeks. Read the chapter on your own work before your first shift, and leaf through the others when the rain keeps visitors away. Whoever finds a mistake is asked to write it into the copy that hangs by the kettle.",
        ],
        "hours": "The museum is open from ten in the morning until five in the afternoon, Tuesday to Sunday. It is closed on Mondays, on 25 December and whenever the harbour master hoists the storm cone. Last admission is at half past four. Children under twelve and holders of a library card enter free.",
        "first_shift": [
            "Sign the visitors’ ledger and put on a blue armband.",
            "Ask the shift leader to show you the fire exits on both floors.",
            "Learn where the first-aid box hangs: behind the ticket desk, under the map.",
            "Save the number of the harbour office, 01632 960 144, in your telephone.",
        ],
        "keys": "Keys never leave the building. The ring with the red tag opens the boat hall, the one with the green tag the workshop. Both hang in the steel cabinet, whose code changes on the first of every month.",
        "wrong": [
            "A visitor who feels unwell sits down first and is asked questions later. Call the shift leader, fetch the first-aid box and stay with the visitor. When the fire bell rings, leave the tickets and the till where they are and walk everybody to the bollard with the white stripe.",
            "Write down every accident, however small, on the same day. A note made on Friday about something that happened on Monday helps nobody, least of all the insurer.",
        ],
        "workshops": "Two groups share the upper yard. Both welcome beginners, and neither minds if you only want to watch for an afternoon.",
        "bicycle": [
            "The repair bench is open on Thursday evenings. People bring their own bicycle and mend it themselves; we lend the tools and show how they are held. We do not sell parts, but the drawer of used ones is free to all.",
            "Most visitors come with a flat tyre. To mend a puncture, lift the tyre off the rim with two levers, pull out the inner tube and pump it up until you hear where it hisses. Roughen the rubber around the hole, spread a thin film of glue, wait five minutes and press the patch on hard.",
            "A chain that jumps under load is worn. Lay the gauge on it: if the pin drops in at the mark for 0.75, fit a new chain before it eats the sprockets. Oil it sparingly, one drop on each roller, and wipe off whatever shines.",
            "Brakes come last and matter most. Pads should meet the rim together and flat, a hand’s breadth of lever before the bar. Nobody rides out of the yard before somebody else has squeezed both levers.",
        ],
        "bees": [
            "Four hives stand on the flat roof, facing south-east and out of the wind. They belong to the house and are kept by whoever has taken the spring course.",
            "From April to July we open each hive every nine days and look for queen cells. A colony that feels crowded raises a new queen and half of the bees leave with the old one, so a keeper who finds queen cells divides the colony the same day.",
            "Work slowly and in the middle of a warm day, when the old foragers are out. A little smoke at the entrance, a pause of two minutes, then the lid. Put frames back in the order and the direction in which they came out.",
            "Honey is taken once, at the end of July, and only from the upper boxes. What is in the brood box is theirs for the winter. We leave each colony at least fifteen kilograms and weigh the hives in October.",
            "Anyone who has ever had trouble breathing after a sting stays below. The adrenaline pen lies in the first-aid box and is checked on the first Sunday of the month.",
        ],
        "tides": [
            "The water at the Long Quay rises and falls by about five metres at springs and by little more than two at neaps. High water comes roughly fifty minutes later each day, because the moon has moved on while the earth was turning.",
            "At low water springs the inner berths fall dry, and a boat with a deep keel must lean against the wall or leave in time. Look at the table before you give a visiting skipper a berth.",
        ],
        "tide_caption": "Table 1. Heights at the Long Quay in metres above chart datum, first week of May.",
        "tide_table": [
            ["Day", "First high", "Height (m)", "First low", "Height (m)"],
            ["Monday", "05:12", "5.4", "11:31", "0.9"],
            ["Tuesday", "05:58", "5.6", "12:16", "0.7"],
            ["Wednesday", "06:43", "5.7", "13:01", "0.6"],
            ["Thursday", "07:29", "5.6", "13:46", "0.8"],
            ["Friday", "08:17", "5.3", "14:33", "1.1"],
            ["Saturday", "09:09", "4.9", "15:24", "1.5"],
            ["Sunday", "10:10", "4.5", "16:25", "1.9"],
        ],
        "mooring": [
            "Take the bow line first and let the wind decide which side comes alongside.",
            "Leave slack for the tide: three times the rise is a good length for a line ashore.",
            "Hang at least three fenders, the middle one where the boat is widest.",
            "Note the boat’s name, length and skipper in the berth book.",
        ],
        "after_table": "Visiting boats pay at the ticket desk: two pounds a metre and night, with water and the use of the shower. The second week is half price, and traditional working boats lie free.",
        "bridge": [
            "The footbridge to the island is ours to inspect, twice a year and after every storm. Two people walk it together: one looks, one writes. Inspectors tap the steel girders with a hammer and listen, for sound metal rings and rusted metal answers with a dull thud.",
            "Enter what you find in the list below. Grade 1 means as new, grade 5 means that the bridge is closed at once and the harbour office is called.",
        ],
        "bridge_table": [
            ["Part", "What to look for", "Found in spring", "Action", "Grade"],
            ["Deck", "loose or rotten planks, raised nails", "two planks soft at the edge", "replace by June", "3"],
            ["Girders", "rust under the paint, cracked welds", "paint blistered near pier 2", "scrape and prime", "2"],
            ["Railings", "posts that move, sharp edges", "sound", "none", "1"],
            ["Bearings", "dirt, missing grease", "north bearing dry", "clean and grease", "3"],
            ["Piers", "scour at the foot, cracked joints", "hairline crack, pier 3", "watch monthly", "2"],
        ],
    },
    "scan": {
        "title": "Coffee club: notes on the March roast",
        "date": "Written by Ines Halloran on 14 March 2026",
        "roasting": [
            "We roasted twelve kilograms of green beans from the Sidama hills in four batches. The drum was heated to 200 degrees before each charge, and the room was kept at 19 degrees with the window open.",
            "The beans turn yellow first and smell of hay, then brown and smell of bread. At about 196 degrees they crack loudly like popcorn; from that moment on every ten seconds can be tasted in the cup. We stopped the first batch one minute after the crack and the last one after two and a half.",
        ],
        "roast_table": [
            ["Batch", "First crack", "Stopped", "Weight lost"],
            ["1 light", "8:40", "9:40", "12.5 %"],
            ["2 light", "8:35", "9:50", "13.1 %"],
            ["3 medium", "8:50", "10:45", "15.2 %"],
            ["4 dark", "8:30", "11:00", "17.8 %"],
        ],
        "after_table": "Nine members tasted the result on the following Sunday without knowing which cup was which. Batch two won with six votes. Batch four was called honest by its friends and burnt by everybody else.",
        "title_2": "Allotment: how we make compost",
        "compost": [
            "A good heap is built like a cake. Layers of green waste such as grass cuttings alternate with layers of brown waste such as straw and torn cardboard, and each is a hand deep. The heap should be as moist as a sponge that has been wrung out.",
            "After a week it is hot inside: the thermometer of plot nine showed 62 degrees on the eighth day. When it cools, we turn it, so that what was outside comes to the middle. In four months the worms have done the rest.",
        ],
        "compost_list": [
            "Yes: kitchen peelings, coffee grounds, egg shells, leaves.",
            "No: cooked food, meat, cat litter, glossy paper.",
            "Never: bindweed roots, not even dry ones.",
        ],
        "signed": "Questions go to Tobias at plot nine, any evening before sunset.",
    },
    "invoice": {
        "from": "Pellworth Timber Ltd<br/>Mill Lane 8<br/>Carrow Bridge",
        "to": "Harbour House Trust<br/>The Treasurer<br/>Long Quay 1",
        "title": "Invoice 2026-0417",
        "date": "Date of invoice: 17 April 2026. Delivered on 15 April 2026.",
        "rows": [
            ["Item", "Quantity", "Price each", "Amount"],
            ["Oak plank, 2400 x 150 x 40 mm", "14", "38.50", "539.00"],
            ["Stainless screws, box of 200", "3", "21.00", "63.00"],
            ["Primer, 2.5 litres", "2", "34.75", "69.50"],
            ["Delivery", "1", "45.00", "45.00"],
            ["Total before tax", "", "", "716.50"],
            ["Tax at 20 %", "", "", "143.30"],
            ["Total to pay", "", "", "859.80"],
        ],
        "terms": [
            "Please transfer the total within thirty days and quote the number of this invoice. A discount of two percent may be taken on payment within ten days.",
            "Goods remain our property until they have been paid for in full.",
        ],
    },
    "mixed": {
        "title": "Request for a grant: new planks for the footbridge",
        "request": [
            "The trust asks the Island Fund for 900 pounds towards the repair of the footbridge. The spring inspection found two soft planks; once the deck was open, twelve more turned out to be rotten from below.",
            "Volunteers will do the work in the first two weeks of May. The bridge stays open on one side while the other is relaid, except on 6 May, when a crane lifts the old beams away.",
            "The only cost is material. The timber merchant’s invoice is attached as the next page; it has been paid from our reserve, which now stands at 310 pounds.",
        ],
        "title_2": "Decision of the Island Fund",
        "decision": [
            "The committee met on 28 April and grants the full sum of 859.80 pounds, the amount shown on the invoice. The difference to the sum requested stays in the fund.",
            "The grant is tied to one condition: a photograph of the finished deck, with the carpenters on it, is sent to the fund before midsummer and may be printed in its yearly report.",
        ],
    },
    "letter": {
        "from": "Marguerite Oyelaran<br/>Piano tuner and repairer<br/>3 Chandler Street",
        "to": "The Harbour Choir<br/>c/o Harbour House<br/>Long Quay 1",
        "date": "2 February 2026",
        "subject": "Your upright piano",
        "body": [
            "Dear friends,",
            "Thank you for letting me look at the piano in the boat hall. It is a better instrument than it sounds. The case is dry, the soundboard has no cracks and the hammers have years left in them.",
            "What you hear is the damp. The strings have gone flat by almost a quarter tone, more in the bass than in the treble, and a piano so far down cannot be pulled up in one go without breaking strings. I propose to raise the pitch in two visits, three weeks apart, and to hang a small heater behind the lower panel.",
            "The two visits together cost 140 pounds, and the heater 35. I could come on Tuesday 17 February at nine in the morning, before the museum opens. Please keep the hall above twelve degrees from the day before.",
            "Until then, please do not let anybody tighten single strings with pliers. I could see that somebody has tried.",
        ],
        "close": "With kind regards,<br/><br/>Marguerite Oyelaran",
    },
    "photo": {
        "title": "Swimmers, please read",
        "body": [
            "The current under the footbridge is strong for two hours after high water. Stay inside the yellow buoys.",
            "Jellyfish were seen on Saturday. Rinse a sting with sea water, never with fresh water, and come to the ticket desk for vinegar.",
            "The ladder at the slipway is slippery below the third rung.",
            "Harbour office: 01632 960 144",
        ],
    },
    "encrypted": "The password of this document is known to the tests only. Nothing in it is secret: it says that the key to the boat shed hangs behind the door.",
    # What must be found on each page, word for word, once runs of white space are one space.
    "snippets": {
        "handbook 1": [
            "Harbour House has stood at the end of the Long Quay since 1874.",
            "It is closed on Mondays, on 25 December and whenever the harbour master hoists the storm cone.",
            "Ask the shift leader to show you the fire exits on both floors.",
        ],
        "handbook 2": [
            "We do not sell parts, but the drawer of used ones is free to all.",
            "Put frames back in the order and the direction in which they came out.",
        ],
        "handbook 3": ["Leave slack for the tide: three times the rise is a good length for a line ashore.", "first week of May", "06:43"],
        "handbook 4": ["The footbridge to the island is ours to inspect, twice a year and after every storm.", "hairline crack, pier 3"],
        "scan 1": ["We roasted twelve kilograms of green beans from the Sidama hills in four batches.", "Batch two won with six votes."],
        "scan 2": ["A good heap is built like a cake.", "Questions go to Tobias at plot nine, any evening before sunset."],
        "mixed 1": ["The trust asks the Island Fund for 900 pounds towards the repair of the footbridge."],
        "mixed 2": ["Oak plank, 2400 x 150 x 40 mm", "Goods remain our property until they have been paid for in full."],
        "mixed 3": ["a photograph of the finished deck, with the carpenters on it, is sent to the fund before midsummer"],
        "letter 1": ["It is a better instrument than it sounds.", "Please keep the hall above twelve degrees from the day before."],
        "photo 1": ["Swimmers, please read", "Stay inside the yellow buoys."],
        "notes 1": ["Fold the dough four times in the first two hours.", "The crumb should spring back when pressed."],
        "plain 1": ["Der Große Wagen steht im Frühling fast senkrecht über uns.", "Élodie a noté l’heure de chaque étoile filante."],
    },
}

NOTES = """\
# Baking on Saturdays

Notes from the bread course in the museum kitchen, for those who missed it.

## The starter

A sourdough starter is flour and water in which wild yeast has settled. Feed it once a day with equal weights of
rye flour and water, and throw away half before you do. After a week it should double within four hours of a meal.

## The loaf

1. Mix 500 g of flour, 350 g of water and 100 g of starter; rest for half an hour.
2. Add 10 g of salt. Fold the dough four times in the first two hours.
3. Shape it, put it into a basket and leave it in the refrigerator overnight.
4. Bake in a covered pot at 240 °C for 25 minutes, then uncovered until dark.

The crumb should spring back when pressed. If it is *gummy*, the loaf was cut too early; if it is **dense**, the starter
was too young.

| flour | water | character         |
|-------|-------|-------------------|
| wheat | 70 %  | open, mild        |
| spelt | 65 %  | nutty, spreads    |
| rye   | 85 %  | close, keeps long |

- Wrap bread in linen, not in plastic.
- A stale loaf makes good croutons.

## Scaling

The baker's percentage counts everything against the flour:

```python
def water(flour_g: float, hydration: float = 0.70) -> float:
    return flour_g * hydration
```

More in the [recipe archive](https://example.org/bread), which the course keeps up to date.
"""

PLAIN = """\
Astronomy evenings on the quay

The astronomy group meets on clear evenings at the end of the Long Quay, where no lamp disturbs the eye. We bring two
telescopes and a flask of cocoa. Beginners start with the moon: through a small telescope its craters throw shadows
that grow visibly longer within an hour.

In August we count shooting stars. The Perseids come when the earth passes through dust left behind by a comet, and on
the night of the twelfth a patient observer may see sixty of them in an hour.

Unsere Gäste aus Münster schrieben ins Gästebuch: Der Große Wagen steht im Frühling fast senkrecht über uns. Wer die
Hinterachse fünfmal verlängert, findet den Polarstern – auch über den Dächern von Köln.

Nos amis de Saint-Brévin étaient là aussi. Élodie a noté l’heure de chaque étoile filante. « Très belle soirée, malgré
la fraîcheur », écrit-elle, et elle a dessiné la Voie lactée à côté.

Bring warm clothes, a red torch and, if you have one, a folding chair. The evening is called off if the café flag is
down by six. Smörgås and naïve questions are welcome; façades of expertise are not.
"""

LOG = [
    "Wind south-west, force 4, rain until noon. Two trawlers passed inward. I scraped the landing steps, which were green with weed.",
    "Calm. Fog from four in the morning; the horn sounded for seven hours. Nothing seen and little heard but the horn.",
    "Fog lifted at eight. Cleaned salt from the lantern panes, inside and out. A seal has taken the lower landing for her own.",
    "Wind west, force 5. The supply boat could not land and went home with our potatoes.",
    "Wind west, force 3. The supply boat landed: potatoes, paraffin, four newspapers and a letter for Aldous, who read it twice.",
    "Clear and cold. Painted the gallery rail. Counted nineteen sail to the south at sunset.",
    "Sunday. Aldous read aloud from the almanac. Barometer falling slowly.",
    "Gale from the south-west, force 9. Spray over the lantern. Doors wedged; nobody went out.",
    "Gale continues. The privy is gone. It was not seen to leave.",
    "Wind down to force 6 by evening. Found a mackerel on the gallery, forty metres up.",
    "Repaired the hen house. Of six hens, five are well, and the sixth is in the kitchen and intends to stay.",
    "The lamp stopped turning at two in the morning because a cog of the clockwork had broken, and we turned the lens by hand until dawn, one man pushing while the other slept.",
    "Made a new tooth for the cog out of the poker. The clockwork runs, with a click at every turn.",
    "Relief due, relief not come. Wind north, force 5, hail.",
    "Relief not come. Finished the newspapers, began them again from the back.",
    "Relief came: Mr Tennant for Aldous, who waved his hat until the boat was round the point.",
    "Mr Tennant is musical. He has brought a concertina and three tunes.",
    "Clear. A whale to the north-east, blowing, in company with many gannets. Mr Tennant played to it without effect.",
    "Whitewashed the tower, north side. Ran out of lime a metre from the door.",
    "Wind south, force 2. The hen laid an egg in Mr Tennant’s cap. The first in three weeks.",
    "A yacht came too close to the reef. Showed the flag, fired the maroon; she turned with a boat’s length to spare and dipped her ensign.",
    "Rain all day. Tank full: eleven hundred gallons. Washed everything that is washable.",
    "Small earthquake at breakfast, or else the coal shifted. The coal had shifted.",
    "A racing pigeon landed, tired, with a ring on its leg. Fed it barley and wrote the number down.",
    "The pigeon left at nine, circled twice and steered for the mainland. I envied it a little.",
    "Trimmed wicks, changed the mantle, polished brass. Visitors expected, none came.",
    "The inspector came without notice, ran a white glove along the lens and found nothing. Asked about the click. We told him.",
    "Wind east, force 3, a smell of hay from the land. Mr Tennant has learnt a fourth tune.",
    "New cog delivered and fitted. We miss the click and both woke at two because of the silence.",
    "End of the month. Burnt 212 gallons of paraffin, sounded 31 hours of fog, lost one privy. All well.",
]

SEARCH = [
    {"sentence": "The museum is open from ten in the morning until five in the afternoon, Tuesday to Sunday.", "paraphrase": "When can I visit the exhibition?", "document": "handbook.pdf"},
    {"sentence": "To mend a puncture, lift the tyre off the rim with two levers, pull out the inner tube and pump it up until you hear where it hisses.", "paraphrase": "How do I fix a flat bike wheel?", "document": "handbook.pdf"},
    {"sentence": "A colony that feels crowded raises a new queen and half of the bees leave with the old one, so a keeper who finds queen cells divides the colony the same day.", "paraphrase": "preventing honeybees from swarming", "document": "handbook.pdf"},
    {"sentence": "High water comes roughly fifty minutes later each day, because the moon has moved on while the earth was turning.", "paraphrase": "Why does the sea not peak at the same time every day?", "document": "handbook.pdf"},
    {"sentence": "Inspectors tap the steel girders with a hammer and listen, for sound metal rings and rusted metal answers with a dull thud.", "paraphrase": "checking a bridge for corrosion by its sound", "document": "handbook.pdf"},
    {"sentence": "At about 196 degrees they crack loudly like popcorn; from that moment on every ten seconds can be tasted in the cup.", "paraphrase": "the popping noise that coffee makes while it is being roasted", "document": "scan.pdf"},
    {"sentence": "Layers of green waste such as grass cuttings alternate with layers of brown waste such as straw and torn cardboard, and each is a hand deep.", "paraphrase": "how to build a garden compost pile", "document": "scan.pdf"},
    {"sentence": "A discount of two percent may be taken on payment within ten days.", "paraphrase": "Do we save money if we settle the bill early?", "document": "mixed.pdf"},
    {"sentence": "The strings have gone flat by almost a quarter tone, more in the bass than in the treble, and a piano so far down cannot be pulled up in one go without breaking strings.", "paraphrase": "musical instrument out of tune because of humidity", "document": "letter.png"},
    {"sentence": "Rinse a sting with sea water, never with fresh water, and come to the ticket desk for vinegar.", "paraphrase": "first aid after touching a jellyfish", "document": "photo.jpg"},
    {"sentence": "A sourdough starter is flour and water in which wild yeast has settled.", "paraphrase": "natural leavening for bread", "document": "notes.md"},
    {"sentence": "The Perseids come when the earth passes through dust left behind by a comet", "paraphrase": "origin of a summer meteor shower", "document": "plain.txt"},
    {"sentence": "The lamp stopped turning at two in the morning because a cog of the clockwork had broken", "paraphrase": "mechanical failure of the lighthouse during the night", "document": "long.pdf"},
]
