"""Subjects at home: food, rooms, machines, clothes, the body, the family."""

from pipeline.standin.group import Group

PRIVATE = {
    "food": (
        Group(
            "cake pie cookie dessert chocolate cream candy sweets pancake sugar honey jam cherry "
            "marshmallow popcorn muffin doughnut icing frosting pudding biscuit caramel cinnamon "
            "waffle syrup brownie gingerbread",
            "sweet",
            "kept three dentists in business | went straight to my hips | laughed at my diet",
            "Dentists call it a growth industry.",
        ),
        Group(
            "bread bakery loaf toast dough bagel baker flour toaster croissant sandwich butter "
            "yeast crust crumbs roll bun cereal oatmeal",
            "bake baked baking toasted",
            "rose to the occasion | loafed around all day | knew which side was buttered",
            "Carbs remain undefeated.",
        ),
        Group(
            "vegetable tomato salad lettuce carrot onion spinach apple banana peach berry berries "
            "blueberries blueberry lemon lime potato bean pumpkin garlic cucumber mushroom fruit "
            "pear plum grape melon strawberry strawberries cabbage broccoli radish pea corn peel "
            "orange",
            "ripe peeled vegetarian",
            "counted as one of my five a day | dreamed of being a burger | made a rabbit jealous",
            "No vitamins were harmed.",
        ),
        Group(
            "dinner lunch breakfast supper meal snack leftovers appetite portion plate spoon fork "
            "bowl picnic food",
            "ate eat eats eaten eating hungry fed",
            "demanded a second helping | never saw dessert coming | vanished in one bite",
            "Belts have been loosened for less.",
        ),
        Group(
            "kitchen recipe oven stove pan pot soup pasta rice sauce salt chili curry egg stew "
            "spice chef pepper microwave blender noodles cheese chicken meat fish yogurt ham "
            "bacon sausage turkey beef tuna taco",
            "cook cooks cooked cooking fry fried grill grilled boil boiled boiling simmer",
            "set off the smoke alarm | asked for a little more salt | made a famous chef weep",
            "Smoke alarms call it dinner.",
        ),
        Group(
            "restaurant waiter waitress menu pizza fries burger diner buffet takeaway sushi tip",
            "ordered",
            "still hoped for a tip | came with a side of regret",
            "The tip was mostly emotional.",
        ),
        Group(
            "coffee tea mug cup kettle cafe espresso latte barista thermos grinder",
            "decaf caffeine",
            "kept me awake until Thursday | did all my thinking for me | whistled a happy tune",
            "Caffeine is my only colleague.",
        ),
        Group(
            "wine beer bar juice milk lemonade soda bottle cocktail cider pub glass drink",
            "drank drinks drinking",
            "woke up with a hangover | looked half full at best",
            "Hangovers start like this.",
        ),
    ),
    "home": (
        Group(
            "sofa couch mattress pillow cushion armchair rug carpet curtain lamp furniture",
            "",
            "swallowed the remote control | matched nothing in the room | clashed with my socks",
            "Feng shui has left the building.",
        ),
        Group(
            "table desk chair stool bench shelf shelves bookshelf bookcase wardrobe drawer "
            "nightstand cabinet cupboard",
            "",
            "came with three screws too few | needed Swedish instructions | wobbled on purpose",
            "Three screws were left over.",
        ),
        Group(
            "roof ceiling wall paint plumber drain sink tap pipe radiator heating leak ladder "
            "drill hammer screw shed tile bathroom attic basement varnish glue tape nail bolt "
            "faucet toilet heater",
            "painted painting leaks leaked repair repaired broken fix fixed",
            "bought the plumber a boat | held together by tape alone | cost a bit extra",
            "Duct tape has entered the chat.",
        ),
        Group(
            "dishes dish dishwasher laundry vacuum dust mop trash iron towel sponge soap stain "
            "bin dryer garbage rubbish bathtub bucket broom",
            "clean cleaned cleaner cleaning wash washed washing ironing sweep swept rinse scrub "
            "scrubbed wipe wiped spill spilled tidy recycling",
            "swept it under the carpet | called for a cleaning lady | came out one size smaller",
            "Dust bunnies are laughing.",
        ),
        Group(
            "rent apartment flat landlord lease lobby building elevator stairs tenant roommate "
            "lift hallway floor renovation mover porch balcony",
            "moved moving upstairs downstairs",
            "raised the rent again | kept the security deposit | came described as charming",
            "Landlords call it charm.",
        ),
        Group(
            "bed bedroom nap alarm dream blanket midnight bedtime sleep night",
            "slept asleep woke wake wakes awake tired yawn yawned insomnia snore snoring sleeping",
            "hit the snooze button | snored louder than my uncle",
            "Insomnia sends its love.",
        ),
        Group(
            "door window key lock locker locksmith doorbell gate fence mailbox",
            "locked",
            "let the burglars in | squeaked on purpose | asked who was there",
            "Burglars would have left a note.",
        ),
        Group(
            "house home neighbor neighbour neighborhood driveway garage yard room",
            "",
            "watched from behind the curtain | looked bigger in the advertisement | borrowed a cup "
            "of sugar",
            "Curtains twitched all along the road.",
        ),
    ),
    "machines": (
        Group(
            "phone text message voicemail ringtone app signal charger battery smartphone selfie "
            "headphones earphones call",
            "called texted ring rang charge charging",
            "went straight to voicemail | died at one percent | butt-dialed the president",
            "Airplane mode was kinder.",
        ),
        Group(
            "computer laptop keyboard mouse desktop screen file printer tablet software update "
            "usb scanner cable ink monitor copier projector calculator robot machine button "
            "switch",
            "print prints printed printing",
            "had to be turned off and on | crashed before I could save | started plotting against "
            "mankind",
            "Robots will laugh at us.",
        ),
        Group(
            "internet wifi email password website account video modem router inbox browser "
            "download link chat blog attachment code",
            "online emailed downloaded spam",
            "buffered for an eternity | wanted a stronger password | went viral for no reason",
            "Hackers felt sorry for me.",
        ),
    ),
    "clothes": (
        Group(
            "shirt sweater shoes shoe socks sock coat jacket jeans hat gloves glove dress suit "
            "zipper button boots scarf clothes trousers skirt sleeve wool cardigan pocket pajamas "
            "slippers belt laces lace closet",
            "wore wear wears knit knitted knits",
            "went out of fashion on the spot | fed a family of moths | no longer fit after lunch",
            "Moths gave it five stars.",
        ),
    ),
    "body": (
        Group(
            "doctor dentist hospital clinic nurse headache fever cough medicine tooth teeth "
            "pharmacy flu prescription bandage ankle knee shoulder wrist blood stomach "
            "appointment throat pill vaccine surgery thumb allergy nose rash hand finger",
            "coughed ache sore pain hurt hurts allergic sneeze sick",
            "took two pills and lay down | asked for a second opinion | said to come back in the "
            "morning",
            "Doctors recommend fewer birthdays.",
        ),
        Group(
            "gym runner marathon yoga exercise fitness pool treadmill trainer muscle squats "
            "weights workout pilates run",
            "ran running jog jogging stretch stretched swim swimming spin",
            "pulled a muscle watching | skipped leg day as usual",
            "Muscles I never met are furious.",
        ),
        Group(
            "hair haircut beard barber shampoo mirror glasses eyebrow bangs makeup lipstick "
            "hairdresser comb face skin eyes eye",
            "curly shave shaved",
            "had a bad hair day | left the barber in tears",
            "Hats were invented for this.",
        ),
    ),
    "family": (
        Group(
            "mother father mum dad parents mom",
            "",
            "said to ask the other parent | told the neighbors first",
            "Therapists sent flowers.",
        ),
        Group(
            "grandma grandmother grandpa grandfather grandparents",
            "elderly",
            "walked uphill both ways | blamed the young people",
            "Uphill both ways, naturally.",
        ),
        Group(
            "baby child children kids kid toddler toddlers son daughter nephew niece twins boy "
            "girl diaper stroller crib playground toy daycare",
            "youngest",
            "refused to share the toys | threw a tantrum at nap time | wanted one more story",
            "Parenting books skip that chapter.",
        ),
        Group(
            "sister brother cousin cousins aunt uncle twin sibling half-sister family relatives",
            "",
            "brought it up at Christmas | blamed the middle child",
            "Blood is thicker than common sense.",
        ),
        Group(
            "wedding husband wife marriage bride anniversary date boyfriend girlfriend groom "
            "couple kiss",
            "married engaged love",
            "cried at the altar | put Cupid on probation",
            "Cupid is on probation.",
        ),
        Group(
            "friend friends friendship argument promise",
            "argued argue promised apologized",
            "swore never to speak of it | unfriended all of us",
            "Friendship survives worse.",
        ),
        Group(
            "party birthday guests guest gift present candles candle invitation christmas "
            "halloween fireworks balloon parade costume host thanksgiving easter eve",
            "celebrate celebrated invited",
            "jumped out of the cake | popped all the balloons | danced on the table",
            "Balloons saw everything.",
        ),
    ),
}
